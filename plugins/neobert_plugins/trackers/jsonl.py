"""Metrics as lines of JSON."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

from neobert.files import open_lines, place_named

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
        self._file = open_lines(path)

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


def _finite_or_text(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
