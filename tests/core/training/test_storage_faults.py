"""What a disk can do to a checkpoint: it is named, the newest intact one is used, and none is ever half there."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from neobert.errors import UserError
from neobert.files import MANIFEST, faults, new_directory, remove_folder, settle_leftovers
from neobert.training.checkpoints import newest_intact, prune, step_directories
from neobert.training.run_directory import settle_killed

Run = Callable[..., tuple[int, str]]
REFUSALS = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE]


def make(parent: Path, step: int, text: str = "weights") -> Path:
    with new_directory(parent / str(step), replace=True) as directory:
        (directory / "state.safetensors").write_text(f"{text} {step}")
        (directory / "tokenizer").mkdir()
        (directory / "tokenizer" / "tokenizer.json").write_text("{}")
    return parent / str(step)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("number", REFUSALS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["fsync", "rename", "replace", "mkdir", "open"])
@pytest.mark.parametrize("nth", [1, 2])
def test_a_refusal_leaves_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str, nth: int
) -> None:
    make(tmp_path, 2)
    # The first folder that is made is there already.
    nth += call == "mkdir"
    work, calls = getattr(os, call), [0]

    def refuse(*arguments: Any, **more: Any) -> Any:
        calls[0] += 1
        if calls[0] == nth:
            raise OSError(number, os.strerror(number))
        return work(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        with suppress(OSError):
            make(tmp_path, 4)
            assert calls[0] < nth, "a refusal was passed over"
    assert not (tmp_path / "4").exists() or faults(tmp_path / "4") == []
    path, damaged = newest_intact(tmp_path)
    assert path in (tmp_path / "2", tmp_path / "4")
    assert damaged == []
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("nth", [1, 2])
def test_a_refused_renaming_leaves_the_old_one_of_the_same_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    make(tmp_path, 4, "old")
    rename, calls = os.rename, [0]

    def refuse(*arguments: Any) -> None:
        calls[0] += 1
        if calls[0] == nth:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", refuse)
        with pytest.raises(OSError, match="Input/output"):
            make(tmp_path, 4, "new")
    assert faults(tmp_path / "4") == []
    assert (tmp_path / "4" / "state.safetensors").read_text() == "old 4"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    """``checkpoints`` of a real run, of the steps 1 and 2."""
    import io

    from rich.console import Console
    from tests.conftest import write_workdir

    from neobert.recipe import load_recipe
    from neobert.training.run import run

    folder = tmp_path_factory.mktemp("saved")
    write_workdir(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NEOBERT_CACHE", str(cache))
        overrides = ("--trainer.max_steps=2", "--trainer.save_steps=1")
        assert run(load_recipe(Path("recipe.toml"), overrides), Console(file=io.StringIO())) == 0
    return folder / "run" / "checkpoints"


def damages(content: bytes) -> Iterator[bytes]:
    rng = random.Random(0)
    yield content[: len(content) // 2]
    yield b""
    yield content + b"\0"
    for _ in range(8):
        place = rng.randrange(len(content))
        yield content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def test_every_file_of_a_checkpoint_truncated_and_flipped(saved: Path) -> None:
    files = [path for path in sorted((saved / "2").rglob("*")) if path.is_file()]
    assert len(files) > 4
    for file in files:
        content, name = file.read_bytes(), file.relative_to(saved / "2").as_posix()
        for damage in damages(content):
            file.write_bytes(damage)
            path, said = newest_intact(saved)
            assert path == saved / "1", name
            assert len(said) == 1
            assert name == MANIFEST or name in said[0]
        file.unlink()
        assert newest_intact(saved)[0] == saved / "1", name
        file.write_bytes(content)
    assert newest_intact(saved) == (saved / "2", [])


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, 2)

    def broken(file: Path) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("neobert.files.sha256", broken)
    assert faults(path)[0] == "state.safetensors cannot be read: Input/output error"
    (path / MANIFEST).unlink()
    (path / MANIFEST).mkdir()
    assert faults(path) == [f"{MANIFEST} cannot be read: Is a directory"]


@pytest.mark.parametrize("name", ["../2b/secret", "/etc/hostname", "link", "a/../../2b/secret", "nul\0"])
def test_a_manifest_cannot_lead_outside(tmp_path: Path, name: str) -> None:
    path = make(tmp_path, 2)
    (tmp_path / "2b").mkdir()
    (tmp_path / "2b" / "secret").write_text("x")
    (path / "link").symlink_to(tmp_path / "2b" / "secret")
    (path / "inside").symlink_to("state.safetensors")
    entries = json.loads((path / MANIFEST).read_text())
    same = {**entries, "inside": entries["state.safetensors"]}
    (path / MANIFEST).write_text(json.dumps(same))
    assert faults(path) == []
    (path / MANIFEST).write_text(json.dumps({**entries, name: {"size": 1, "sha256": "0"}}))
    (said,) = faults(path)
    assert "leads out of the folder" in said


def test_retention_never_takes_the_last_intact_one(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4):
        make(tmp_path, step)
    (tmp_path / "4" / "state.safetensors").write_text("weights 9")
    said = prune(tmp_path, 1)
    assert list(step_directories(tmp_path)) == [4, 3]
    assert "4 is damaged" in said[0]
    assert f"{tmp_path / '3'} stays, though trainer.save_total_limit = 1" in said[1]
    make(tmp_path, 5)
    assert prune(tmp_path, 1) == []
    assert list(step_directories(tmp_path)) == [5]


def test_where_none_is_intact_retention_goes_by_number(tmp_path: Path) -> None:
    for step in (1, 2):
        (make(tmp_path, step) / "state.safetensors").unlink()
    assert len(prune(tmp_path, 1)) == 1
    assert list(step_directories(tmp_path)) == [2]


def test_what_a_kill_leaves_is_cleared_up(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    make(checkpoints, 2)
    (checkpoints / ".4.abcd1234").mkdir()
    (checkpoints / ".4.abcd1234" / "state.safetensors").touch()
    shutil.copytree(checkpoints / "2", checkpoints / ".2.abcd1234")
    (checkpoints / ".notes").touch()
    (tmp_path / ".heartbeat.json.abcd_234").touch()
    (tmp_path / ".lock").touch()
    (tmp_path / ".mine.abcd1234").touch()
    assert settle_killed(tmp_path) == []
    assert names(checkpoints) == [".notes", "2"]
    assert names(tmp_path) == [".lock", ".mine.abcd1234", "checkpoints"]


def test_a_checkpoint_that_only_lacks_its_name_gets_it(tmp_path: Path) -> None:
    """Killed between taking the old one's name away and giving it to the new one."""
    checkpoints = tmp_path / "checkpoints"
    make(checkpoints, 2)
    os.rename(checkpoints / "2", checkpoints / ".2.abcd1234")
    shutil.copytree(checkpoints / ".2.abcd1234", checkpoints / ".2.zzzz1234")
    (note,) = settle_killed(tmp_path)
    assert "2 had been written whole" in note
    assert names(checkpoints) == ["2"]
    assert newest_intact(checkpoints) == (checkpoints / "2", [])


def test_a_folder_that_is_being_removed_is_never_taken_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, 2)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            remove_folder(tmp_path / "2")
    assert newest_intact(tmp_path) == (None, [])
    assert settle_leftovers(tmp_path, str.isdecimal) == []
    assert names(tmp_path) == []


def test_a_run_whose_disk_turns_read_only(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from neobert.training import saving

    save = saving.save_checkpoint

    def read_only(parent: Path, progress: Any, *arguments: Any) -> Path:
        if progress.step == 4:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(parent))
        return save(parent, progress, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(saving, "save_checkpoint", read_only)
        with pytest.raises(UserError, match=r"step 4 could not be saved whole in run: Read-only file system"):
            go("--trainer.save_steps=2")
    assert newest_intact(Path("run/checkpoints"))[0] == Path("run/checkpoints/2")


def test_a_folder_that_vanishes_is_not_made_again(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from neobert.training.recorder import Recorder

    after_step = Recorder.after_step

    def vanish(self: Recorder, parts: Any, data: Any, norm: Any, position: Any, done: bool) -> None:
        if position.step == 2:
            os.rename("run", "elsewhere")
        after_step(self, parts, data, norm, position, done)

    monkeypatch.setattr(Recorder, "after_step", vanish)
    with pytest.raises(UserError, match="step 2 could not be saved: the run's folder run is gone"):
        go("--trainer.save_steps=2")
    assert not Path("run").exists()
