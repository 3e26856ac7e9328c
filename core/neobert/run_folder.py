"""What a run leaves behind, found from outside of it: its newest checkpoint or export, and its tokenizer.

Light: no torch. `neobert.training` writes these folders, others read them.
"""

from __future__ import annotations

import fcntl
import os
from difflib import get_close_matches
from pathlib import Path

from attrs import frozen

from neobert.errors import UserError
from neobert.files import faults, has_manifest

CHECKPOINTS = "checkpoints"
EXPORTS = "model_checkpoints"
AVERAGED_EXPORTS = "ema_model_checkpoints"
METRICS = "metrics.jsonl"
SUMMARY = "summary.json"
"""Written once a run has come to its end."""
ENVIRONMENT = "environment.json"
"""What only a run's own folder has."""
RECIPE = "recipe.toml"
DATA = "data.json"
"""What the training and evaluation data come to, and how long documents are."""
SUPERSEDED = "superseded"
"""Where what was newer than the step that a run went on from was moved to."""
LOCK = ".lock"
"""Locked as long as a run goes on in the folder: a lock on an open file, which ends with its process."""
TOKENIZER_DIRECTORY = "tokenizer"
"""In a checkpoint. An export has the files of its tokenizer beside its weights."""
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
_NAMES_SHOWN = 8


@frozen
class StepFolder:
    """What a run saved at one step, verified by its manifest."""

    path: Path
    run: Path
    step: int
    passed_over: tuple[str, ...] = ()
    """Of newer steps: what is wrong with each, a line."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Which step it is, and what was passed over, for people."""
        return (f"step {self.step} is the newest of run {self.run}", *self.passed_over)


def newest_of_run(folder: Path) -> StepFolder | None:
    """A run's newest intact step, of an export and a checkpoint the export; None for a folder that is no run's.

    Raises UserError for a run that has none.
    """
    kinds = [folder / name for name in (EXPORTS, CHECKPOINTS) if (folder / name).is_dir()]
    if not kinds and not (folder / ENVIRONMENT).is_file():
        return None
    steps = [path for kind in kinds for path in kind.iterdir() if path.name.isdecimal() and path.is_dir()]
    passed_over: list[str] = []
    for path in sorted(steps, key=lambda path: int(path.name), reverse=True):
        found = faults(path)
        if not found:
            return StepFolder(path, folder, int(path.name), tuple(passed_over))
        passed_over.append(f"{path} is damaged and is passed over: {'; '.join(found)}")
    if not steps:
        msg = f"{folder} is a run that has saved nothing yet: there is no checkpoint in it"
        raise UserError(msg)
    lines = "\n".join(f"  {line}" for line in passed_over)
    msg = f"{folder} is a run without a complete checkpoint ({len(steps)} incomplete or damaged):\n{lines}"
    raise UserError(msg)


def is_running(run: Path) -> bool:
    """Whether a process holds the run's folder now, on this machine or on another that shares its locks."""
    try:
        handle = os.open(run / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def saved_steps(run: Path) -> list[int]:
    """The steps of all checkpoints that were written to their end, in order; their files are not verified."""
    return _whole_steps(run / CHECKPOINTS)


def refuse_damaged(folder: Path) -> None:
    """Raises UserError for a checkpoint or an export that is not as its manifest says. Folders of others have none."""
    if has_manifest(folder) and (found := faults(folder)):
        msg = f"{folder} is damaged: {'; '.join(found)}"
        raise UserError(msg)


def saved_exports(run: Path, kind: str = EXPORTS) -> list[int]:
    """The steps of all exports (or of those of averaged weights) that were written to their end, in order."""
    return _whole_steps(run / kind)


def tokenizer_folder(path: Path) -> Path:
    """Where the tokenizer is that ``path`` means: a run, a checkpoint, an export, or a folder with one in it.

    A folder with none of these is itself. Raises UserError for a run that has saved nothing whole, and for a damaged
    checkpoint or export.
    """
    step = newest_of_run(path) if path.is_dir() else None
    if step is not None:
        path = step.path
    elif path.is_dir():
        refuse_damaged(path)
    return tokenizer_inside(path)


def tokenizer_inside(folder: Path) -> Path:
    """The same of a checkpoint, an export, or any folder but a run's; nothing is verified."""
    places = (folder, folder / TOKENIZER_DIRECTORY)
    return next((place for place in places if any((place / name).is_file() for name in _TOKENIZER_FILES)), folder)


def not_there(path: Path) -> str:
    """Says that there is nothing at ``path``, with the nearest names that exist."""
    place = next((parent for parent in path.parents if parent.exists()), None)
    if place is None:
        return "no such file or folder"
    if not place.is_dir():
        return f"no such file or folder: {place} is a file"
    wanted = path.relative_to(place).parts[0]
    names = sorted(entry.name for entry in place.iterdir() if not entry.name.startswith("."))
    close = get_close_matches(wanted, names, n=1)
    if close:
        return f"no such file or folder; did you mean {Path(place, close[0], *path.relative_to(place).parts[1:])}?"
    shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
    where = "the working directory" if place == Path() else str(place)
    return f"no such file or folder; in {where} there is {shown or 'nothing'}"


def inside_of_run(folder: Path) -> str:
    """A hint for the folder that holds a run's steps, or several runs; empty for any other."""
    if folder.name in (EXPORTS, CHECKPOINTS) and (steps := _steps_in(folder)):
        return f"name the run, {folder.parent}, or one of its steps here: {', '.join(map(str, steps))}"
    runs = [entry for entry in sorted(folder.iterdir()) if (entry / ENVIRONMENT).is_file()]
    return f"there are runs in it: {', '.join(map(str, runs[:_NAMES_SHOWN]))}" if runs else ""


def _whole_steps(folder: Path) -> list[int]:
    return [step for step in _steps_in(folder) if has_manifest(folder / str(step))] if folder.is_dir() else []


def _steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
