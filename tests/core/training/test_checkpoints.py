"""Retention deletes only folders of ours, and the newest intact checkpoint is chosen by its manifest."""

from __future__ import annotations

from pathlib import Path

from neobert.files import new_directory
from neobert.training.checkpoints import newest_intact, prune, step_directories


def _make(parent: Path, step: int) -> Path:
    with new_directory(parent / str(step)) as directory:
        (directory / "state").write_text(str(step))
    return parent / str(step)


def test_newest_first_by_number(tmp_path: Path) -> None:
    for step in (9, 10, 100):
        _make(tmp_path, step)
    (tmp_path / "notes").mkdir()
    assert list(step_directories(tmp_path)) == [100, 10, 9]


def test_damaged_ones_are_named_and_passed_over(tmp_path: Path) -> None:
    good = _make(tmp_path, 9)
    (_make(tmp_path, 10) / "state").write_text("xx!")
    (tmp_path / "11").mkdir()
    path, damaged = newest_intact(tmp_path)
    assert path == good
    assert [line.split(" is damaged")[0] for line in damaged] == [str(tmp_path / "11"), str(tmp_path / "10")]


def test_retention_keeps_the_newest_and_what_is_not_ours(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _make(tmp_path, step)
    (tmp_path / "0").mkdir()
    prune(tmp_path, 2)
    assert list(step_directories(tmp_path)) == [3, 2, 0]
    _make(tmp_path, 4)
    prune(tmp_path, 1, spare=(2,))
    assert list(step_directories(tmp_path)) == [4, 2, 0]
    prune(tmp_path, 1)
    _make(tmp_path, 3)
    prune(tmp_path, 2)
    assert list(step_directories(tmp_path)) == [4, 3, 0]
    prune(tmp_path, None)
    assert list(step_directories(tmp_path)) == [4, 3, 0]
