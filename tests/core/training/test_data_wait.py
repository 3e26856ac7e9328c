"""The share of time that the loop waits for data: logged, and in the summary."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neobert.data.collate import BatchMaker
from neobert.training import loop, meter

Run = Callable[..., tuple[int, str]]


def test_a_slow_collator_shows(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that only making batches (3 s a step) and updates (7 s a step) move."""
    now = 0.0

    def costs(seconds: float, work: Any) -> Any:
        def timed(*arguments: Any) -> Any:
            nonlocal now
            now += seconds
            return work(*arguments)

        return timed

    monkeypatch.setattr(meter, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(BatchMaker, "__getitem__", costs(1.5, BatchMaker.__getitem__))
    monkeypatch.setattr(loop, "update", costs(7.0, loop.update))
    status, told = go("--trainer.eval_steps=3")  # what an evaluation takes does not count
    assert status == 0
    lines = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    assert [line["train/data_wait_share"] for line in lines if "train/loss" in line] == pytest.approx([0.3] * 3)
    assert told.count("waiting for data 30%") == 3
    assert "waited for data 30.0% of the time" in told
