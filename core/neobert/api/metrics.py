"""What a run has logged, as series of numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import field, frozen

from neobert.errors import UserError

Row = Mapping[str, float]


@frozen
class Series:
    """One metric's numbers, in the order of their steps."""

    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def last(self) -> float:
        """The newest."""
        return self.values[-1]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, float]]:
        """(step, value) pairs."""
        return iter(zip(self.steps, self.values, strict=True))


@frozen
class Metrics(Mapping[str, Series]):
    """Name, such as ``train/loss`` or ``eval/loss`` -> its `Series`, from the run's first step on."""

    rows: tuple[Row, ...]
    """The same line by line, as they were logged: ``step`` and that line's metrics. A data frame takes them."""
    _series: dict[str, Series] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        found: dict[str, tuple[list[int], list[float]]] = {}
        for row in self.rows:
            for name, value in row.items():
                if name != "step":
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(value)
        series = {name: Series(tuple(steps), tuple(values)) for name, (steps, values) in found.items()}
        object.__setattr__(self, "_series", series)

    def __getitem__(self, name: str) -> Series:
        return self._series[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._series)

    def __len__(self) -> int:
        return len(self._series)


def read_metrics(file: Path) -> Metrics:
    """Of a run's ``metrics.jsonl``. Raises UserError where there is none."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError as error:
        msg = f"there is no {file}: no tracker of the run's recipe writes it"
        raise UserError(msg) from error
    # A run that was killed while it wrote leaves half a line.
    return Metrics(tuple(_row(line, file) for line in lines if line.endswith("\n")))


def _row(line: str, file: Path) -> Row:
    try:
        said = json.loads(line)
        return {"step": int(said.pop("step")), **{name: float(value) for name, value in said.items()}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{file} has a line that is none of a run: {line.strip()[:80]!r}"
        raise UserError(msg) from error
