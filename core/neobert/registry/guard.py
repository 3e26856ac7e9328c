"""Calling code of other people so that its faults stay its own."""

from __future__ import annotations

import contextlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_HERE = Path(__file__).parent


def guarded(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    """What ``call`` returns, or what it raises, `SystemExit` too; only a keyboard interrupt gets through.

    What it prints goes to stderr, so that a command's own output stays readable by programs.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            return call(), None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return None, error


def describe_error(error: BaseException) -> str:
    """Type, message and place of an exception, in one line."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = "(its message cannot be shown)"
    if isinstance(error, SystemExit):
        message = f"it called sys.exit({error.code!r})"
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    place = _place(error)
    return f"{text} ({place})" if place else text


def _place(error: BaseException) -> str | None:
    """File and line of the innermost frame that is not the import system's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib") and "importlib" not in frame.filename
    ]
    frames = [frame for frame in frames if Path(frame.filename).parent != _HERE]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None
