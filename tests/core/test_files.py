"""Folders appear whole or not at all, and damage is named."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import save_file

from neobert.files import MANIFEST, disk_errors, faults, new_directory, place_named, write_json, write_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with new_directory(tmp_path / "10") as directory:
        (directory / "a.bin").write_bytes(b"abc")
        (directory / "sub").mkdir()
        (directory / "sub" / "b.bin").write_bytes(b"")
    return tmp_path / "10"


def test_a_complete_folder_has_no_faults(folder: Path) -> None:
    assert faults(folder) == []
    assert set(json.loads((folder / MANIFEST).read_text())) == {"a.bin", "sub/b.bin"}
    assert [path.name for path in folder.parent.iterdir()] == ["10"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with new_directory(tmp_path / "10") as directory:
            (directory / "a.bin").write_bytes(b"abc")
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_by_a_complete_one_alone(folder: Path) -> None:
    def fill(*, fails: bool) -> None:
        with new_directory(folder, replace=True) as directory:
            (directory / "new.bin").write_bytes(b"new")
            if fails:
                raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        fill(fails=True)
    assert faults(folder) == []
    assert (folder / "a.bin").exists()
    fill(fails=False)
    assert faults(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, "new.bin"]
    assert [path.name for path in folder.parent.iterdir()] == ["10"]


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda f: (f / "a.bin").write_bytes(b"abd"), "a.bin is not what was written"),
        (lambda f: (f / "a.bin").write_bytes(b"ab"), "a.bin has 2 bytes where 3"),
        (lambda f: (f / "sub" / "b.bin").unlink(), "sub/b.bin is missing"),
        (lambda f: (f / MANIFEST).unlink(), "not written to its end"),
        (lambda f: (f / MANIFEST).write_text("{"), "manifest.json is damaged"),
        (lambda f: (f / MANIFEST).write_text("[1]"), "manifest.json is damaged"),
        (lambda f: (f / MANIFEST).write_bytes(b"\xff\xfe"), "manifest.json is damaged"),
    ],
)
def test_damage_is_named(folder: Path, damage: object, named: str) -> None:
    damage(folder)  # type: ignore[operator]
    assert any(named in fault for fault in faults(folder))


def test_a_text_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "one")
    write_json(tmp_path / "a", {"b": 1})
    assert json.loads((tmp_path / "a").read_text()) == {"b": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_raised_with_its_place(tmp_path: Path) -> None:
    def fill() -> None:
        with new_directory(tmp_path / "10"):
            raise OSError(errno.ENOSPC, "no room")

    with pytest.raises(OSError, match="no room") as refused:
        fill()
    assert refused.value.filename == str(tmp_path / "10")
    with pytest.raises(OSError, match="no room") as refused, place_named(Path("other")):
        raise OSError(errno.ENOSPC, "no room", "its own")
    assert refused.value.filename == "its own"


def test_what_safetensors_says_of_the_disk_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), disk_errors():
        save_file({}, tmp_path / "not there" / "x")
    with pytest.raises(SafetensorError, match="header"), disk_errors():
        raise SafetensorError("header too small")
