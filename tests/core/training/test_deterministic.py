"""``trainer.deterministic``: on inside of a run alone, recorded, and what cannot be so is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from attrs import evolve

from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training.deterministic import WORKSPACE, describe_determinism, deterministic

Run = Callable[..., tuple[int, str]]
CPU = torch.device("cpu")
OFF = TrainerOptions(export_attn_backend="eager")
ON = evolve(OFF, deterministic=True)


def test_on_inside_and_as_before_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WORKSPACE, raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(OFF, CPU):
        assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(ON, torch.device("cuda")):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.deterministic
        assert not torch.backends.cudnn.benchmark
        assert describe_determinism(torch.device("cuda")) == {"deterministic": True, "cublas_workspace": ":4096:8"}
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark


def test_what_has_no_deterministic_kernel_is_told() -> None:
    with (
        pytest.raises(UserError, match=r"trainer\.deterministic = true: .*\n.*model\.attn_backend"),
        deterministic(ON, CPU),
    ):
        # An operation that refuses on a CPU too.
        torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)
    assert not torch.are_deterministic_algorithms_enabled()
    with pytest.raises(RuntimeError, match="another fault"), deterministic(ON, CPU):
        raise RuntimeError("another fault")


def test_a_run_is_the_same_and_says_so(go: Run) -> None:
    assert go("--trainer.max_steps=2")[0] == 0
    assert go("--trainer.max_steps=2", "--trainer.deterministic=true", "--trainer.output_dir=same")[0] == 0
    states = [Path(run, "checkpoints", "2", "state.safetensors").read_bytes() for run in ("run", "same")]
    assert states[0] == states[1], "on a CPU"
    said = [json.loads(Path(run, "environment.json").read_text())["deterministic"] for run in ("run", "same")]
    assert said == [False, True]
