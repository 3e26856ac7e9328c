"""Metrics as lines of JSON."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING

from neobert.files import place_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class JsonlTracker:
    """Appends ``{"step": 10, "train/loss": 2.5}``, a line at a time, each of them flushed.

    Floats are written with all their digits. JSON has no word for those that are not finite: they are the
    strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"``, which `float` reads.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = path.open("ab+")
        self._end_broken_line()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes one line. Raises `ValueError` for a metric called ``step``."""
        if "step" in metrics:
            msg = "a metric cannot be called `step`: that is the line's own key"
            raise ValueError(msg)
        line = {"step": step, **{name: _finite_or_text(value) for name, value in metrics.items()}}
        with place_named(self._path):
            self._file.write(json.dumps(line, allow_nan=False).encode() + b"\n")
            self._file.flush()

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        with place_named(self._path):
            self._file.close()

    def _end_broken_line(self) -> None:
        """A run that was killed while it wrote leaves half a line: what follows must not be glued to it."""
        end = self._file.seek(0, os.SEEK_END)
        if end:
            self._file.seek(end - 1)
            if self._file.read(1) != b"\n":
                self._file.write(b"\n")


def _finite_or_text(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
