"""Rows that cannot be read: what a dataset says of them, and what the core makes of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Literal

from attrs import define, field

from neobert.errors import UserError

DAMAGE_COLUMN = "neobert_damage"
"""A string column that a dataset may have beside its own: null, or what is wrong with the row, with its file and its
row there. What cannot be read of the row is null. It is damaged where a column that is trained on is null then; it
keeps its number, and so does every other row."""
NAMED = 5
"""Damaged rows that are named; those after them are only counted."""
FEW = 10
"""Damaged rows that never end a run, however few rows are around them."""
_ROWS_A_BLOCK = 10_000

logger = logging.getLogger("neobert.data")


@define(eq=False)
class DamageLog:
    """What becomes of the damaged rows of one split, read once or many times."""

    label: str
    on_damaged_row: Literal["skip", "stop"] = "skip"
    _named: set[int] = field(factory=set, init=False)

    def settle(self, damaged: Mapping[int, str], rows: int) -> None:
        """Names what has not been named, of ``rows`` rows read together. Raises UserError where they end the run."""
        if not damaged:
            return
        first, fault = next(iter(damaged.items()))
        if self.on_damaged_row == "stop":
            msg = (
                f"{fault} (row {first} of {self.label})\n"
                'mend it, or skip and count such rows: dataset.on_damaged_row = "skip"'
            )
            raise UserError(msg)
        if len(damaged) > max(FEW, rows // 2):
            msg = (
                f"{len(damaged):,} of {rows:,} rows of {self.label} are damaged, more than half; the first: {fault}\n"
                "this is hardly the data that was meant: look at its files, or at dataset.format"
            )
            raise UserError(msg)
        for row, what in damaged.items():
            self._name(row, what)

    def _name(self, row: int, fault: str) -> None:
        if row in self._named or len(self._named) > NAMED:
            return
        self._named.add(row)
        if len(self._named) > NAMED:
            logger.warning("more rows of %s are damaged; from here on they are only counted", self.label)
        else:
            logger.warning("skipped: %s (row %d of %s)", fault, row, self.label)


def settle_damage(rows: Any, columns: Sequence[str], log: DamageLog) -> Any:
    """A ``datasets.Dataset`` without `DAMAGE_COLUMN`: rows with nothing in one of these columns for it are empty
    documents."""
    import pyarrow.compute as pc

    damaged: dict[int, str] = {}
    for first in range(0, len(rows), _ROWS_A_BLOCK):  # a selection of rows is copied when it is read
        block = rows.with_format("arrow")[first : min(first + _ROWS_A_BLOCK, len(rows))]
        faults = block.column(DAMAGE_COLUMN)
        nothing = reduce(pc.or_, (pc.is_null(block.column(column)) for column in columns))
        places = pc.indices_nonzero(pc.and_(nothing, pc.is_valid(faults))).to_pylist()
        damaged |= {first + place: faults[place].as_py() for place in places}
    log.settle(damaged, len(rows))
    if len(damaged) > NAMED:
        logger.warning("%d of %d rows of %s are damaged, and skipped", len(damaged), len(rows), log.label)
    return rows.remove_columns(DAMAGE_COLUMN)
