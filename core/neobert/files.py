"""Writing that a crash cannot half do: temporary names, syncs, renames, and manifests with sizes and sums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


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
    try:
        os.chmod(temporary, 0o755)
        with place_named(path):
            yield temporary
            write_manifest(temporary)
        if replace and path.exists():
            _remove(path)
        os.rename(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync(path.parent)


def _remove(path: Path) -> None:
    """Takes the name away at once, whatever the rest takes."""
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    os.rename(path, old)
    shutil.rmtree(old)


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
    except (ValueError, TypeError, KeyError, AttributeError):
        return [f"{MANIFEST} is damaged"]
    found = []
    for name, (size, digest) in sorted(listed.items()):
        file = directory / name
        if not file.is_file():
            found.append(f"{name} is missing")
        elif file.stat().st_size != size:
            found.append(f"{name} has {file.stat().st_size} bytes where {size} were written")
        elif sha256(file) != digest:
            found.append(f"{name} is not what was written (its sha256 differs)")
    return found


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
