"""A run that stands still is told where it stands, and goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from neobert.watching.hang import STACKS, HangWatch
from neobert.watching.watch import watching


def stand_still_until(found: Path, text: str, times: int = 1) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found.exists() and found.read_text().count(text) >= times:
            return
        time.sleep(0.02)
    pytest.fail(f"{text} was not written {times} times")


def test_the_stacks_are_printed_again_and_again_and_the_run_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with HangWatch(tmp_path, 0.05) as watch:
        watch.heard("step 7 was done")
        stand_still_until(tmp_path / STACKS, "nothing was finished", 2)
        watch.heard("step 8 was done")
    error = capfd.readouterr().err
    assert "last: step 7 was done" in error
    assert "stand_still_until" in error
    assert "it goes on: step 8 was done" in error
    written = (tmp_path / STACKS).read_text()
    assert "stand_still_until" in written
    assert "trainer.hang_timeout = 0.05" in written


def test_who_is_heard_is_left_alone(tmp_path: Path) -> None:
    with watching(tmp_path, 0, 3600.0) as watch:
        watch.begin(0, 10)
        watch.step(1)
    assert not (tmp_path / STACKS).exists()


def test_no_thread_without_a_timeout(tmp_path: Path) -> None:
    with watching(tmp_path, 1, 0.0) as watch:
        assert watch.hang is None
        assert watch.heart is None
        watch.begin(0, 10)
        watch.step(1)
    assert list(tmp_path.iterdir()) == []
