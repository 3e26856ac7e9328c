"""A new distribution on the disk: all of it, or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from neobert.errors import UserError
from neobert.files import place_named
from neobert.scaffold.names import name_faults, names_for
from neobert.scaffold.render import rendered


def write_plugin(name: str, kind: str, folder: Path | None = None) -> list[Path]:
    """Writes a plugin of a known kind into ``folder`` (unset: one called ``name``); returns the files.

    Raises `UserError` with everything that is wrong: a name that cannot be used or is taken, a folder that holds
    something. Nothing is left where the disk refuses a file.
    """
    folder = Path(name) if folder is None else folder
    faults = name_faults(name, kind) + _folder_faults(folder)
    if faults:
        raise UserError("\n".join(faults))
    files = {folder / path: text for path, text in rendered(names_for(name), kind).items()}
    was_there = folder.exists()
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with place_named(path):
                path.write_text(text, encoding="utf-8")
    except BaseException:
        _clear(folder, keep=was_there)
        raise
    return list(files)


def _folder_faults(folder: Path) -> list[str]:
    if folder.is_dir():
        there = sorted(path.name for path in folder.iterdir())
        some = ", ".join([*there[:3], *(["..."] if len(there) > 3 else [])])
        return [f"{folder} is there already, and holds {some}: name another folder"] if there else []
    if folder.exists() or folder.is_symlink():
        return [f"{folder} is a file: name another folder"]
    file = next((parent for parent in folder.parents if parent.exists() and not parent.is_dir()), None)
    return [] if file is None else [f"{file} is a file, so {folder} can be no folder"]


def _clear(folder: Path, *, keep: bool) -> None:
    """Removes what was written; the folder itself only where it is ours. It was empty."""
    if not keep:
        shutil.rmtree(folder, ignore_errors=True)
        return
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
