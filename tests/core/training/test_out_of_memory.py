"""A run without memory left: what was trained is saved, and one answer says what would make it fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from neobert.errors import UserError
from neobert.interfaces import LossOutput
from neobert.training.objective import Objective
from neobert.training.out_of_memory import shortage

Run = Callable[..., tuple[int, str]]
RESUME = "--trainer.resume_from_checkpoint=latest"


def too_much() -> torch.Tensor:
    """What torch's own allocator says where it has not enough."""
    return torch.empty(2**52, dtype=torch.uint8)


def test_what_is_a_shortage() -> None:
    with pytest.raises(RuntimeError) as refused:
        too_much()
    said = shortage(refused.value)
    assert said is not None
    assert "memory" in said
    assert shortage(torch.OutOfMemoryError("CUDA out of memory. Tried")) == "CUDA out of memory. Tried"
    assert shortage(MemoryError()) == "no memory is left"
    assert shortage(RuntimeError("shapes do not fit")) is None
    assert shortage(ValueError("can't allocate memory")) is None


def fail_at(monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """The so manieth training forward pass asks for too much."""
    forward, calls = Objective.forward, [0]

    def greedy(self: Objective, batch: object) -> LossOutput:
        calls[0] += self.training
        if self.training and calls[0] == call:
            too_much()
        return forward(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Objective, "forward", greedy)


def test_the_last_step_is_saved_and_three_settings_are_told(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    more = ("--trainer.max_steps=4", "--trainer.ema={decay = 0.9}")
    go("--trainer.output_dir=whole", *more)
    with monkeypatch.context() as patch:
        fail_at(patch, 6)
        with pytest.raises(UserError) as answer:
            go(*more)
    said = str(answer.value)
    assert said.startswith("out of memory: ")
    assert "(in step 3 or before it)" in said
    assert re.search(r"estimated to take \d+\.\d\d GiB \(as --check estimates it\)", said)
    assert re.search(r"there is \d+\.\d\d GiB", said)
    told = [line for line in said.splitlines() if line.startswith("  --")]
    assert len(told) == 3
    less = [float(found) for found in re.findall(r"less \((\d+)%", said)]
    assert less == sorted(less, reverse=True)
    assert less[-1] > 0
    assert "--trainer.per_device_train_batch_size 2 --trainer.gradient_accumulation_steps 4" in said
    assert "for a new run" in said
    assert "step 2 is saved; to go on" in said
    assert answer.value.__cause__ is answer.value.__context__ is None, (
        "a cause would hold on to the frames, and they to their tensors"
    )
    assert json.loads(Path("run/heartbeat.json").read_text())["state"] == "failed"
    assert go(*more, RESUME)[0] == 0
    ends = [Path(run, "checkpoints", "4", "state.safetensors").read_bytes() for run in ("whole", "run")]
    assert ends[0] == ends[1]


def test_weights_in_the_midst_of_an_update_are_not_saved(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = [0]

    def hook(*_: object) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise MemoryError

    handle = register_optimizer_step_post_hook(hook)
    try:
        with pytest.raises(UserError, match="while weights were being updated, so they are not saved"):
            go("--optimizer=adamw", "--trainer.save_steps=1")
    finally:
        handle.remove()
    assert sorted(path.name for path in Path("run/checkpoints").iterdir()) == ["1", "2"]


def test_nothing_to_save_before_the_first_step(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at(monkeypatch, 1)
    with pytest.raises(UserError, match="what would help most") as answer:
        go()
    assert "saved" not in str(answer.value)
    assert not Path("run/checkpoints").exists()
