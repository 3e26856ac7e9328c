"""Work that is done once: a folder for results, safe against two runs at once and against a kill."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neobert.errors import UserError
from neobert.files import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def cache_directory(*names: str) -> Path:
    """The folder for cached results, made if it is not there.

    Its root is the environment variable NEOBERT_CACHE, else XDG_CACHE_HOME/neobert, else ~/.cache/neobert.
    """
    root = os.environ.get("NEOBERT_CACHE")
    if not root:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        root = str(Path(home) / "neobert")
    folder = Path(root).expanduser().joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"cannot make the cache folder {folder}: {error.strerror}\nset NEOBERT_CACHE to a folder you may write to"
        raise UserError(msg) from error
    return folder


def build_once(path: Path, build: Callable[[Path], None]) -> Path:
    """``path``, built by ``build(temporary path)`` unless it is already there; a file or a folder.

    Two runs at once build it once: the second waits. What a killed run left is removed by the next. The
    result is synced to disk and only then gets its name, so whatever stands under ``path`` is whole.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(f".{path.name}.lock")):
        if path.exists():
            return path
        partial = path.with_name(f".{path.name}.partial")
        _remove(partial)
        try:
            build(partial)
            _sync(partial)
            partial.rename(path)
            sync(path.parent)
        except BaseException as error:
            _remove(partial)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                msg = (
                    f"no space left to cache {path.name} in {path.parent}\n"
                    "free some, or set NEOBERT_CACHE to another disk"
                )
                raise UserError(msg) from error
            raise
    return path


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock on the open file, not by the file's presence: the system drops it when a process dies."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir():
        for entry in path.iterdir():
            _sync(entry)
    sync(path)
