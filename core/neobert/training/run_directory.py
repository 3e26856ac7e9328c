"""The run's folder: one run at a time, never two histories in one."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from neobert.errors import UserError
from neobert.files import settle_leftovers, write_text
from neobert.recipe import Recipe
from neobert.run_folder import AVERAGED_EXPORTS, CHECKPOINTS, EXPORTS, LOCK, METRICS, RECIPE, SUPERSEDED
from neobert.training.checkpoints import step_directories
from neobert.training.command import command, command_to_go_on
from neobert.training.ranks import Ranks

STEP_FOLDERS = (CHECKPOINTS, EXPORTS, AVERAGED_EXPORTS)
"""What holds a folder for each saved step."""
_TRIES, _BETWEEN_TRIES = 5, 0.05
OURS = (RECIPE, METRICS, *STEP_FOLDERS)


@contextmanager
def lock_run_directory(path: Path) -> Iterator[Path]:
    """Makes the folder and holds it: a lock on an open file, which ends with the process however it ends."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(place for place in (path, *path.parents) if place.is_file())
        msg = f"trainer.output_dir = {str(path)!r} cannot be a folder: {file} is a file"
        raise UserError(msg) from error
    handle = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _locked(handle):
            msg = f"{path} is in use by a run that is still going; wait for it, or name another trainer.output_dir"
            raise UserError(msg)
        yield path
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Tries more than once: who asks whether a run is alive has the lock for a moment."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_BETWEEN_TRIES)
        else:
            return True
    return False


@contextmanager
def held_run_directory(ranks: Ranks, path: Path) -> Iterator[Path]:
    """`lock_run_directory` for all ranks: the first one holds it, and the others find it made."""
    with ExitStack() as stack:
        if ranks.first:
            stack.enter_context(lock_run_directory(path))
        ranks.wait()
        yield path


def settle_killed(path: Path) -> list[str]:
    """Takes away what a run that was killed here left half done. A step that was saved whole and had no name yet gets
    it. Returns a line for each of those."""
    notes = []
    for kind in STEP_FOLDERS:
        for name in settle_leftovers(path / kind, str.isdecimal):
            notes.append(f"{path / kind / name} had been written whole when the run was killed, and has its name now")
    settle_leftovers(path, lambda name: name.endswith((".toml", ".json", ".jsonl")))
    return notes


def holds_run(path: Path) -> bool:
    """Whether a run has written here."""
    return any((path / name).exists() for name in OURS)


def refuse_second_run(path: Path, recipe: Recipe) -> None:
    """A folder that holds a run is written only when resuming."""
    if holds_run(path):
        msg = (
            f"{path} already holds a run, and two runs never share a folder. Ways on:\n"
            f"  go on with it:      {command_to_go_on(recipe)}\n"
            f"  start another one:  {command(recipe, {'trainer.output_dir': f'{path}-2'})}\n"
            f"  start it over:      remove {path} yourself, then run the same command"
        )
        raise UserError(msg)


def supersede(path: Path, step: int) -> str | None:
    """Moves what is newer than ``step`` out of the way, so that two histories never join; says what was moved."""
    target = path / SUPERSEDED / _next_name(path / SUPERSEDED)
    moved = []
    for kind in STEP_FOLDERS:
        for number, folder in step_directories(path / kind).items():
            if number > step:
                (target / kind).mkdir(parents=True, exist_ok=True)
                os.rename(folder, target / kind / folder.name)
                moved.append(f"{kind}/{folder.name}")
    lines = _split_metrics(path / METRICS, step, target)
    if lines:
        moved.append(f"{lines} metric lines")
    return f"moved to {target}: {', '.join(moved)}" if moved else None


def _split_metrics(file: Path, step: int, target: Path) -> int:
    """Keeps the lines up to ``step``; moves later ones, and a last line cut short, to ``target``."""
    if not file.exists():
        return 0
    kept: list[str] = []
    moved: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        (kept if _is_until(line, step) else moved).append(line)
    if moved:
        target.mkdir(parents=True, exist_ok=True)
        write_text(target / METRICS, "".join(moved))
        write_text(file, "".join(kept))
    return len(moved)


def _is_until(line: str, step: int) -> bool:
    try:
        return line.endswith("\n") and int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False


def _next_name(parent: Path) -> str:
    taken = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()] if parent.is_dir() else []
    return f"{max(taken, default=0) + 1:03d}"
