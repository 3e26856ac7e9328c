"""Saving in the background: the same files as without, one at a time, and no failure that nobody hears of."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, current_thread, main_thread
from typing import Any

import pytest

from neobert.errors import UserError
from neobert.files import faults
from neobert.training import checkpoints
from neobert.training.background import Background
from neobert.training.loop import Parts, update
from neobert.training.recorder import Recorder
from neobert_plugins.checkpointers.safetensors_files import SafetensorsCheckpointer

Run = Callable[..., tuple[int, str]]
COMMON = (
    "--trainer.max_steps=6",
    "--trainer.save_steps=2",
    "--trainer.save_total_limit=2",
    "--trainer.ema={decay = 0.9}",
)
BACKGROUND = "--trainer.async_save=true"
LATEST = "--trainer.resume_from_checkpoint=latest"
FILES = ("state.safetensors", "state.json", "progress.json")
SAVE = SafetensorsCheckpointer.save


class Killed(BaseException):
    """What nothing catches."""


def bytes_of(run: str, step: int) -> dict[str, bytes]:
    folder = Path(run, "checkpoints", str(step))
    assert not faults(folder)
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture
def whole(go: Run) -> dict[str, bytes]:
    """The last step of a run that saves as usual."""
    go("--trainer.output_dir=whole", *COMMON)
    return bytes_of("whole", 6)


def test_training_goes_on_and_nothing_of_it_is_written(
    go: Run, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step is written only when the step after it has changed the weights."""
    stepped, threads = {step: Event() for step in range(6)}, []

    def late(self: SafetensorsCheckpointer, directory: Path, state: Mapping[str, Any]) -> None:
        threads.append(current_thread())
        step = int(directory.name.split(".")[1])
        assert step == 6 or stepped[step].wait(60)
        SAVE(self, directory, state)

    def noted(parts: Parts, data: Any, *arguments: Any) -> Any:
        done = update(parts, data, *arguments)
        stepped[data.step].set()
        return done

    monkeypatch.setattr(SafetensorsCheckpointer, "save", late)
    monkeypatch.setattr("neobert.training.loop.update", noted)
    status, said = go(*COMMON, BACKGROUND)
    assert status == 0
    assert len(threads) == 3
    assert main_thread() not in threads
    assert bytes_of("run", 6) == whole
    for step in (4, 6):
        assert bytes_of("run", step) == bytes_of("whole", step)
    for kind in ("checkpoints", "model_checkpoints", "ema_model_checkpoints"):
        assert sorted(os.listdir(Path("run", kind))) == ["4", "6"], "retention is as without"
    assert [line for line in said.splitlines() if "saved" in line] == [
        f"step {step}  saved run/checkpoints/{step}" for step in (2, 4, 6)
    ]


def test_what_the_disk_refuses_ends_the_run_at_the_next_step(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    failed, looks = Event(), []

    def full(self: SafetensorsCheckpointer, directory: Path, state: Mapping[str, Any]) -> None:
        if directory.name.startswith(".4."):
            failed.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        SAVE(self, directory, state)

    after_step = Recorder.after_step

    def noted(self: Recorder, parts: Parts, data: Any, norm: Any, position: Any, done: bool) -> None:
        if position.step == 5:
            assert failed.wait(60)
            self.look.__self__._background._thread.join()  # type: ignore[attr-defined]
        looks.append(position.step)
        after_step(self, parts, data, norm, position, done)

    monkeypatch.setattr(SafetensorsCheckpointer, "save", full)
    monkeypatch.setattr(Recorder, "after_step", noted)
    with pytest.raises(UserError) as refused:
        go(*COMMON, BACKGROUND)
    said = str(refused.value)
    assert said.startswith("step 4 could not be saved whole in run: No space left on device\n")
    assert "the newest checkpoint is run/checkpoints/2" in said
    assert looks[-1] == 5, "at the step after it"
    assert not [name for name in os.listdir("run/checkpoints") if name != "2"], "nothing half written stays"


def test_killed_in_the_midst_of_writing_it_goes_on_from_the_one_before(
    go: Run, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread gets no further than its files, as if the process were gone, and the loop is killed a step later."""
    written, never = Event(), Event()
    manifest = checkpoints.write_json

    def stuck(path: Path, value: Any) -> None:
        manifest(path, value)
        if path.parent.name.startswith(".4."):
            written.set()
            never.wait()

    def killed(parts: Parts, data: Any, *arguments: Any) -> Any:
        if data.step == 4:
            assert written.wait(60)
            raise Killed
        return update(parts, data, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write_json", stuck)
        patch.setattr("neobert.training.loop.update", killed)
        with pytest.raises(Killed):
            go(*COMMON, BACKGROUND)
    assert [name for name in os.listdir("run/checkpoints") if not name.startswith(".")] == ["2"]
    status, said = go(*COMMON, BACKGROUND, LATEST)
    assert status == 0
    assert "going on from run/checkpoints/2" in said
    assert bytes_of("run", 6) == whole
    assert sorted(os.listdir("run/checkpoints")) == ["4", "6"]


def test_a_signal_waits_until_it_is_saved(
    go: Run, whole: dict[str, bytes], poison: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being written when the loop has ended is written to its end."""
    waited, settle = Event(), Background.settle

    def late(self: SafetensorsCheckpointer, directory: Path, state: Mapping[str, Any]) -> None:
        assert waited.wait(60)
        SAVE(self, directory, state)

    def noted(self: Background) -> None:
        waited.set()
        settle(self)

    poison.reset(signal_at=3)
    with monkeypatch.context() as patch:
        patch.setattr(SafetensorsCheckpointer, "save", late)
        patch.setattr(Background, "settle", noted)
        status, said = go(*COMMON, BACKGROUND)
    assert status == 143
    assert said.index("step 3  saved run/checkpoints/3") < said.index("stopped by a signal at step 3 of 6; it is saved")
    assert not faults(Path("run/checkpoints/3"))
    poison.reset()
    assert go(*COMMON, BACKGROUND, LATEST)[0] == 0
    assert bytes_of("run", 6) == whole


def test_background_work_is_one_at_a_time_and_raises_where_it_is_settled() -> None:
    background, order = Background(), []
    gate = Event()

    def first() -> None:
        gate.wait(60)
        order.append(1)

    background.begin(first, "first")
    assert not background.has_ended
    gate.set()
    background.begin(lambda: order.append(2), "second")
    background.settle()
    assert order == [1, 2]

    def fails() -> None:
        raise Killed

    background.begin(fails, "third")
    with pytest.raises(Killed):
        background.settle()
    background.settle()
