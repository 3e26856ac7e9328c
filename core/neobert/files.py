"""Writing that a crash cannot half do: temporary names, syncs, renames, and manifests with sizes and sums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

MANIFEST = "manifest.json"
_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}")
"""What `tempfile` makes of a prefix."""


@contextmanager
def place_named(path: Path) -> Iterator[None]:
    """What the disk refuses is raised with this place: an open file that cannot be written to names none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Replaces a file whole: a reader sees the old text or the new, never a part. ``durable``: after a power cut too,
    which takes a wait for the disk."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with place_named(path), os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        sync(path.parent)


def open_lines(path: Path) -> BinaryIO:
    """A file to add lines to, made where there is none. Half a line that a killed process left is ended first: what
    follows must not be glued to it."""
    file = path.open("ab+")
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        if file.read(1) != b"\n":
            file.write(b"\n")
    return file


def write_json(path: Path, value: Any) -> None:
    """Replaces a JSON file whole."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")


@contextmanager
def new_directory(path: Path, temporary: Path | None = None, *, replace: bool = False) -> Iterator[Path]:
    """A folder that appears under its name only when it is complete, with its manifest; else not at all.

    It is made in ``temporary``, where what a killed process left is removed: for callers that hold a lock. Unset: in
    a new folder beside it. ``replace``: a folder that is there already goes once the new one is complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if temporary is None:
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    else:
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir()
    old = None
    try:
        os.chmod(temporary, 0o755)
        with place_named(path):
            yield temporary
            write_manifest(temporary)
        old = _set_aside(path) if replace and path.exists() else None
        os.rename(temporary, path)
    except BaseException:
        if old is not None and not path.exists():
            os.rename(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(path.parent)
    if old is not None:
        shutil.rmtree(old)


def _set_aside(path: Path) -> Path:
    """Under a temporary name. Between this and the renaming that follows, `settle_leftovers` knows what is whole."""
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    os.rename(path, old)
    return old


def settle_leftovers(parent: Path, is_ours: Callable[[str], bool]) -> list[str]:
    """What a killed process left under temporary names: a folder that is whole by its manifest, and of whose name there
    is none, gets it; all else is removed. For callers that hold a lock. Returns the names that were given back.
    """
    settled = []
    for path in sorted(parent.iterdir()) if parent.is_dir() else []:
        name = _TEMPORARY.fullmatch(path.name)
        if name is None or not is_ours(name[1]):
            continue
        if path.is_dir() and not (parent / name[1]).exists() and not faults(path):
            os.rename(path, parent / name[1])
            settled.append(name[1])
        elif path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return settled


@contextmanager
def disk_errors() -> Iterator[None]:
    """What safetensors says of the disk ("... (os error 28)") is raised as the OSError that it is."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        said = re.search(r"\(os error (\d+)\)", str(error))
        if said is None:
            raise
        number = int(said.group(1))
        raise OSError(number, os.strerror(number)) from error


def write_manifest(directory: Path) -> None:
    """Syncs every file, then writes their sizes and sha256 sums: the last file of a complete folder."""
    entries = {}
    for file in _files(directory):
        sync(file)
        entries[file.relative_to(directory).as_posix()] = {"size": file.stat().st_size, "sha256": sha256(file)}
    write_json(directory / MANIFEST, entries)


def faults(directory: Path) -> list[str]:
    """What is wrong with a folder by its manifest, a line each; none when it is complete and intact."""
    try:
        entries = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        listed = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in entries.items()}
    except FileNotFoundError:
        return [f"no {MANIFEST}: it was not written to its end"]
    except OSError as error:
        return [f"{MANIFEST} cannot be read: {error.strerror}"]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return [f"{MANIFEST} is damaged"]
    found = (_fault(directory, name, size, digest) for name, (size, digest) in sorted(listed.items()))
    return [line for line in found if line is not None]


def _fault(directory: Path, name: str, size: int, digest: str) -> str | None:
    """What is wrong with a file of a manifest, in a line."""
    file = directory / name
    try:
        if leads_outside(directory, name):
            return f"{MANIFEST} names {name!r}, which leads out of the folder"
        if not file.is_file():
            return f"{name} is missing"
        if file.stat().st_size != size:
            return f"{name} has {file.stat().st_size} bytes where {size} were written"
        if sha256(file) != digest:
            return f"{name} is not what was written (its sha256 differs)"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"
    return None


def leads_outside(directory: Path, name: str) -> bool:
    """Whether a name that stands in some file means something outside of the file's folder: by ``..``, as an absolute
    path, or by a link."""
    try:
        return not (directory / name).resolve().is_relative_to(directory.resolve())
    except ValueError:  # of a null character
        return True


def remove_folder(path: Path) -> None:
    """Takes the name of a complete folder away at once, whatever the rest takes; one that is half removed is never
    found under its name, nor taken for whole."""
    old = _set_aside(path)
    (old / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(old)


def has_manifest(directory: Path) -> bool:
    """Whether a folder is one of ours: retention deletes no other."""
    return (directory / MANIFEST).is_file()


def sha256(path: Path) -> str:
    """The sum of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Makes a file's bytes, or a folder's names, outlast a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
