"""Files that commands write where ``--output`` says."""

from __future__ import annotations

from pathlib import Path

from neobert.errors import UserError


def free(file: Path) -> Path:
    """A file that is not there yet, in a folder that is. Raises UserError."""
    if file.exists():
        msg = f"--output {file}: it exists already; name another file"
        raise UserError(msg)
    return placed(file)


def placed(file: Path) -> Path:
    """A file in a folder that is there. Raises UserError."""
    if file.is_dir():
        msg = f"--output {file}: it is a folder; name a file"
        raise UserError(msg)
    if not file.parent.is_dir():
        msg = f"--output {file}: there is no folder {file.parent}"
        raise UserError(msg)
    return file
