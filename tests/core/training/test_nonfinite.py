"""A gradient that is not finite never reaches the weights: the run stops with them saved, or skips the step."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from neobert.errors import UserError
from neobert.interfaces import LossOutput
from neobert.training.objective import Objective

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def bad_third_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fifth training forward pass (step 3 of two micro-batches each) gives an infinite loss."""
    forward, calls = Objective.forward, [0]

    def broken(self: Objective, batch: object) -> LossOutput:
        output = forward(self, batch)  # type: ignore[arg-type]
        calls[0] += self.training
        bad = self.training and calls[0] == 5
        return LossOutput(output.total * (float("inf") if bad else 1.0), output.count, output.metrics)

    monkeypatch.setattr(Objective, "forward", broken)


@pytest.mark.usefixtures("bad_third_step")
def test_a_stop_saves_what_was_good_and_says_how_to_go_on(go: Run) -> None:
    with pytest.raises(UserError, match="step 3: the gradient is not finite") as stopped:
        go()
    assert "guard.action skip" in str(stopped.value)
    status, said = go("--trainer.resume_from_checkpoint=latest", "--trainer.guard.action=skip")
    assert status == 0
    assert "at step 2" in said


@pytest.mark.usefixtures("bad_third_step")
def test_a_skipped_step_is_counted_and_leaves_no_nan(go: Run) -> None:
    status, _ = go("--trainer.guard.action=skip")
    assert status == 0
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    trained = [line for line in lines if "train/loss" in line]
    assert [line.get("train/skipped_steps", 0.0) for line in trained] == [0.0, 1.0, 1.0]
    assert all(isinstance(line["train/loss"], float) for line in trained)
    from safetensors.torch import load_file

    state = load_file("run/checkpoints/6/state.safetensors")
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
