"""The data of a step that goes wrong is kept, and the step can be run again: the same numbers, and where they begin."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from neobert.batch import Batch, SequenceLayout
from neobert.cli import main
from neobert.data import MicroBatch
from neobert.errors import UserError
from neobert.files import faults, write_manifest
from neobert.interfaces import LossOutput
from neobert.training.first_faults import FirstFaults, all_finite
from neobert.training.kept_batch import KeptStep, keep_step, read_kept_step
from neobert.training.replay import replay

Run = Callable[..., tuple[int, str]]


def kept_step() -> KeptStep:
    fields = {"labels": torch.arange(3), "weights": torch.rand(2, 2).T, "nothing": torch.empty(0, 4)}
    batch = Batch(torch.arange(7), SequenceLayout.from_lengths((3, 2, 2)), fields, padding=2)
    second = Batch(torch.arange(1), SequenceLayout.from_lengths((1,)))
    return KeptStep(step=8, weights_step=7, fault="nan", micro_batches=(MicroBatch(batch, 5), MicroBatch(second, 6)))


def test_a_kept_step_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = kept_step()
    keep_step(tmp_path / "8", kept)
    keep_step(tmp_path / "8", kept)
    assert faults(tmp_path / "8") == []
    back = read_kept_step(tmp_path / "8")
    assert (back.step, back.weights_step, back.fault) == (8, 7, "nan")
    for one, other in zip(kept.micro_batches, back.micro_batches, strict=True):
        assert (one.seed, one.batch.padding, one.batch.layout.lengths) == (
            other.seed,
            other.batch.padding,
            other.batch.layout.lengths,
        )
        assert torch.equal(one.batch.input_ids, other.batch.input_ids)
        assert one.batch.fields.keys() == other.batch.fields.keys()
        assert all(torch.equal(value, other.batch.fields[name]) for name, value in one.batch.fields.items())


def test_what_is_no_kept_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no kept step"):
        read_kept_step(tmp_path)
    with pytest.raises(UserError, match="none of its steps went wrong"):
        replay(tmp_path)
    keep_step(tmp_path / "8", kept_step())
    about = tmp_path / "8" / "replay.json"
    whole = about.read_text()
    about.write_text(whole + " ")
    with pytest.raises(UserError, match=r"is damaged: replay\.json has"):
        read_kept_step(tmp_path / "8")
    for damage in ('{"step": 8}', "[]", whole.replace('"lengths": [', '"lengths": [9, ')):
        about.write_text(damage)
        write_manifest(tmp_path / "8")
        with pytest.raises(UserError, match="cannot be read as this version writes it"):
            read_kept_step(tmp_path / "8")
    about.write_text(whole)
    write_manifest(tmp_path / "8")
    with pytest.raises(UserError, match="goes with the checkpoint of step 7"):
        replay(tmp_path / "8")


class Spoiling(nn.Module):
    """Its second part makes what is not finite, forward or backward only."""

    def __init__(self, forward: bool) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(2, 2) for _ in range(3))
        self._forward = forward
        self.second.register_forward_hook(self._spoil)

    def _spoil(self, module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        if not self._forward:
            output.register_hook(lambda gradient: gradient * float("inf"))
        return output * float("inf") if self._forward else output

    def forward(self, rows: torch.Tensor) -> LossOutput:
        total = self.third(self.second(self.first(rows))).sum()
        return LossOutput(total, torch.ones(()), {})


@pytest.mark.parametrize("forward", [True, False])
def test_the_first_module_and_the_first_gradients_are_named(forward: bool) -> None:
    objective, found = Spoiling(forward), FirstFaults()
    with found.watching(objective):
        objective(torch.ones(3, 2)).total.backward()
    if forward:
        assert found.module == "second (Linear)"
        assert found.inputs_finite
        assert set(found.gradients) >= {"third.weight"}
    else:
        assert found.module is None
        assert set(found.gradients) == {"second.weight", "second.bias", "first.weight", "first.bias"}
        assert found.gradients[0].startswith("second.")
    assert all_finite({"ids": torch.ones(1, dtype=torch.int64), "more": [LossOutput(torch.ones(()), torch.ones(()))]})
    assert not all_finite(LossOutput(torch.tensor(float("nan")), torch.ones(())))


def test_a_run_that_diverged(go: Run, capsys: pytest.CaptureFixture[str]) -> None:
    wild = ("--optimizer=adamw", "--optimizer.lr=1e25", "--trainer.output_dir=run", "--trainer.save_total_limit=1")
    with pytest.raises(UserError, match="is not finite") as stopped:
        go(*wild)
    found = re.search(r"^step (\d+): ", str(stopped.value))
    assert found is not None
    step = int(found[1])
    assert f"neobert-run --replay run/replay/{step}" in str(stopped.value)
    before = sorted(str(path) for path in Path("run").rglob("*"))
    assert main(["--replay", f"run/replay/{step}"]) == 0
    printed = capsys.readouterr().out
    assert sorted(str(path) for path in Path("run").rglob("*")) == before
    assert f"step {step}, from the weights of step {step - 1} (run/checkpoints/{step - 1}), on cpu" in printed
    assert "the run said: the gradient is not finite" in printed
    assert "the first gradients that are not finite: " in printed
    assert main(["--replay", "run"]) == 0, "the newest of a run"
    shutil.rmtree(f"run/checkpoints/{step - 1}")
    assert main(["--replay", "run"]) == 2
    assert "is not there: it was pruned" in capsys.readouterr().err


def test_the_very_numbers_of_the_run(go: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """What the guard judged is what the replay computes, to the last digit that it tells."""
    judged = ("--trainer.guard.threshold=0.001", "--trainer.guard.window=10", "--trainer.max_steps=20")
    with pytest.raises(UserError, match="spikes") as stopped:
        go(*judged)
    said = re.search(r"^step (\d+): the (loss|gradient norm) spikes: ([\d.e+-]+),", str(stopped.value))
    assert said is not None
    done = replay(Path("run/replay", said[1]))
    value = done.step.loss if said[2] == "loss" else done.step.norm
    assert f"{value:.6g}" == said[3]
    assert len(done.micro_batches) == 2
    assert done.step.count == sum(one.count for one in done.micro_batches)
    assert done.step.norm <= sum(one.norm for one in done.micro_batches) * 1.0001
    assert main(["--replay", "run"]) == 0
    assert "every output and every gradient is finite" in capsys.readouterr().out


def test_a_skipped_step_is_kept_with_the_weights_that_there_are(
    go: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = ("--trainer.guard.threshold=0.001", "--trainer.guard.window=10", "--trainer.max_steps=12")
    assert go(*judged, "--trainer.guard.action=skip", "--trainer.save_steps=4", "--trainer.guard.limit=9")[0] == 0
    kept = sorted(int(path.name) for path in Path("run/replay").iterdir())
    assert kept
    about = json.loads(Path("run/replay", str(kept[0]), "replay.json").read_text())
    assert about["weights_step"] == 8
    assert main(["--replay", f"run/replay/{kept[0]}"]) == 0
    assert "older than those that the step went wrong with" in capsys.readouterr().out
