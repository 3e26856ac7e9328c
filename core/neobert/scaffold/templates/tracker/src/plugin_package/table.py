"""Metrics as comma-separated values."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class CsvTracker:
    """A row ``step,name,value`` a metric, written out at the end of each `log`.

    A resumed run appends; of steps that were run twice, the last rows count.
    """

    def __init__(self, path: Path, prefixes: tuple[str, ...]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
        self._prefixes = prefixes
        self._file = path.open("a", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file, lineterminator="\n")
        if not whole:  # a run was killed while it wrote: what follows must not be glued to that
            self._file.write("\n")
        if self._file.tell() == 0:
            self._rows.writerow(("step", "name", "value"))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes those that are wanted, with all their digits; what is no number is ``nan`` or ``inf``."""
        for name, value in metrics.items():
            if not self._prefixes or name.startswith(self._prefixes):
                self._rows.writerow((step, name, repr(value)))
        self._file.flush()

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        self._file.close()
