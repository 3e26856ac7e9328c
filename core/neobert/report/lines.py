"""Files that a run writes, read as far as they can be read, with a line about what could not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from neobert.errors import UserError


def read_lines(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The JSON objects of a file, a line each, and what there is to say of lines that are none.

    The last line of a run that writes, or was killed while it wrote, may be cut short. No file: no lines.
    """
    if not file.is_file():
        return [], []
    *whole, last = file.read_text(encoding="utf-8", errors="replace").split("\n")
    found, damaged = [], []
    for number, line in enumerate(whole, 1):
        value = _object(line)
        if value is not None:
            found.append(value)
        elif line.strip():
            damaged.append(number)
    notes = [f"the last line of {file.name} is cut short, and left out"] if last.strip() else []
    if damaged:
        which = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        notes.insert(0, f"{file.name} has lines that are no JSON objects, and are left out: {which}")
    return found, notes


def read_object(file: Path) -> dict[str, Any] | None:
    """A JSON file that holds an object; None where there is none. Raises UserError where it holds something else."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        msg = f"{file} is damaged: it is no JSON ({error})"
        raise UserError(msg) from error
    if not isinstance(value, dict):
        msg = f"{file} is damaged: expected a JSON object, found {type(value).__name__}"
        raise UserError(msg)
    return value


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
