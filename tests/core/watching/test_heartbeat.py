"""The heartbeat of a run, and what is made of it from outside."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from neobert.cli import main
from neobert.errors import UserError
from neobert.run_folder import is_running
from neobert.training.run_directory import lock_run_directory
from neobert.watching.beat import HEARTBEAT, Beat, read_beat
from neobert.watching.heart import Heart
from neobert.watching.status import lines_of, read_status

Run = Callable[..., tuple[int, str]]


def beats(folder: Path, **changes: Any) -> Beat:
    values: dict[str, Any] = {
        "state": "running",
        "doing": "training",
        "step": 30,
        "max_steps": 120,
        "time": 1e9,
        "started": 1e9 - 60,
        "pid": os.getpid(),
        "host": "here",
        "seconds_a_step": 2.0,
        "tokens_per_second": 1234.5,
        "loss": 3.25,
        "last_checkpoint": 20,
    }
    beat = Beat(**{**values, **changes})
    beat.write(folder)
    return beat


@contextmanager
def held(folder: Path) -> Iterator[None]:
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(handle)


def test_a_beat_comes_back_as_it_was_written(tmp_path: Path) -> None:
    beat = beats(tmp_path)
    assert read_beat(tmp_path) == beat
    assert [path.name for path in tmp_path.iterdir()] == [HEARTBEAT]
    beats(tmp_path, loss=math.nan, tokens_per_second=math.inf)
    assert "NaN" not in (tmp_path / HEARTBEAT).read_text()
    assert (found := read_beat(tmp_path)) is not None
    assert (found.loss, found.tokens_per_second) == (None, None)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"step": 1}', None])
def test_a_damaged_beat_is_none(tmp_path: Path, text: str | None) -> None:
    beats(tmp_path)
    if text is None:
        values = json.loads((tmp_path / HEARTBEAT).read_text())
        text = json.dumps({**values, "step": "many"})
    (tmp_path / HEARTBEAT).write_text(text)
    assert read_beat(tmp_path) is None


def test_it_beats_every_few_seconds_and_where_something_begins(tmp_path: Path) -> None:
    clock = [100.0]
    heart = Heart(folder=tmp_path, now=lambda: clock[0])
    heart.beat("failed")
    assert read_beat(tmp_path) is None, "there is nothing to say before the first step"
    heart.begin(10, 50)
    seen = []
    for step in range(11, 23):
        clock[0] += 1.0
        heart.step(step)
        beat = read_beat(tmp_path)
        assert beat is not None
        seen.append(beat.step)
    assert seen == [10, 10, 10, 10, 15, 15, 15, 15, 15, 20, 20, 20]
    heart.logged({"train/loss": 2.5, "train/tokens_per_second": 7.0})
    heart.saved(22)
    heart.doing("saving")
    beat = read_beat(tmp_path)
    assert beat is not None
    assert (beat.step, beat.doing, beat.loss, beat.last_checkpoint) == (22, "saving", 2.5, 22)
    assert beat.seconds_a_step == 1.0


def test_a_disk_that_refuses_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neobert.watching.beat.write_text", full)
    heart = Heart(folder=tmp_path, every=0.0)
    with caplog.at_level(logging.WARNING, "neobert"):
        heart.begin(0, 9)
        heart.step(1)
    assert [record.getMessage() for record in caplog.records] == [
        "the heartbeat cannot be written: [Errno 28] No space left on device; the run goes on"
    ]


def test_alive_is_who_holds_the_lock_whatever_the_pid(tmp_path: Path) -> None:
    beats(tmp_path)
    assert read_status(tmp_path).life == "killed", "this process has the pid, and not the lock"
    with held(tmp_path):
        assert is_running(tmp_path)
        assert read_status(tmp_path).life == "running"
    assert not is_running(tmp_path)


def test_asking_does_not_keep_a_run_from_starting(tmp_path: Path) -> None:
    """One who asks has the lock for a moment."""
    (tmp_path / ".lock").touch()
    asking = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys,time; f=open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_SH); print('has', flush=True); "
            "time.sleep(0.06)",
            str(tmp_path / ".lock"),
        ],
        stdout=subprocess.PIPE,
    )
    assert asking.stdout is not None
    asking.stdout.readline()
    with lock_run_directory(tmp_path):
        pass
    asking.wait()


def test_what_is_said_of_a_run(tmp_path: Path) -> None:
    beats(tmp_path)
    with held(tmp_path):
        said = "\n".join(lines_of(read_status(tmp_path)))
    assert "running (training; process" in said
    assert "step             30 of 120 (25.0%)" in said
    assert "3.2500" in said
    assert "1,234 tokens/s, 2 s a step" in said
    assert "time left        0:03:00" in said
    assert "it may hang" in said, "its last word is years old"
    assert "to go on" not in said
    said = "\n".join(lines_of(read_status(tmp_path)))
    assert "it was killed" in said
    assert "--trainer.resume_from_checkpoint latest" in said
    assert "time left" not in said


@pytest.mark.parametrize(("state", "status"), [("finished", 0), ("ended", 0), ("stopped", 1), ("failed", 1)])
def test_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], state: str, status: int) -> None:
    beats(tmp_path, state=state)
    assert main(["--status", str(tmp_path), "--json"]) == status
    assert json.loads(capsys.readouterr().out)["life"] == state


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no run: it has no environment\.json and no heartbeat\.json"):
        read_status(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        read_status(tmp_path / "runs")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "environment.json").touch()
    with pytest.raises(UserError, match="there are runs in it"):
        read_status(tmp_path)
    assert read_status(tmp_path / "one").life == "killed"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="it is a file"):
        read_status(tmp_path / "file")


def test_a_whole_run(go: Run, workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert go("--trainer.max_steps=3")[0] == 0
    beat = read_beat(Path("run"))
    assert beat is not None
    assert (beat.state, beat.step, beat.max_steps, beat.last_checkpoint) == ("finished", 3, 3, 3)
    assert beat.loss == pytest.approx(json.loads(Path("run/metrics.jsonl").read_text().splitlines()[-2])["train/loss"])
    assert beat.tokens_per_second is not None
    assert main(["--status", "run"]) == 0
    assert "finished: it reached its last step" in capsys.readouterr().out
