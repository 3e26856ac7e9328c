"""The first signal is remembered; the second leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from neobert.cli import main
from neobert.data import Cursor, StepBatches, TrainingData
from neobert.errors import Terminated
from neobert.files import faults
from neobert.training.run_directory import lock_run_directory
from neobert.training.signals import StopSignal


@pytest.mark.parametrize(
    ("number", "status", "second"), [(signal.SIGTERM, 143, Terminated), (signal.SIGINT, 130, KeyboardInterrupt)]
)
def test_first_and_second(
    number: int, status: int, second: type[BaseException], capfd: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.number == 0
        os.kill(os.getpid(), number)
        assert stop.exit_status == status
        assert "this step is finished and saved first" in capfd.readouterr().err
        with pytest.raises(second):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_a_run_at_once(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    steps = TrainingData.steps

    def interrupted(self: TrainingData, cursor: Cursor, first_step: int) -> Iterator[StepBatches]:
        for data in steps(self, cursor, first_step):
            if data.step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGTERM)
            yield data

    monkeypatch.setattr(TrainingData, "steps", interrupted)
    assert main(["recipe.toml", "--trainer.save_steps=2"]) == 143
    assert "a second signal leaves at once" in capfd.readouterr().err
    assert [path.name for path in Path("run/checkpoints").iterdir()] == ["2"], "nothing is saved on the way out"
    assert faults(Path("run/checkpoints/2")) == []
    with lock_run_directory(workdir / "run"):
        pass
