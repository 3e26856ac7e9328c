"""The numbers beside an example's texts: labels, scores, what a teacher said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.data.example_form import ExampleForm

NO_LABEL = np.iinfo(np.int64).min
"""Stands for a label that is not there."""


@frozen(eq=False)
class Values:
    """The numbers of some rows, end to end."""

    numbers: NDArray[Any]
    """int64 of a label, float64 of a score, float32 of lists."""
    ends: NDArray[np.int64] | None = None
    """(rows,) one past the last number of each row, of lists."""

    def missing(self, first: int = 0, last: int | None = None) -> NDArray[np.bool_]:
        """(rows,) where nothing is, of the rows from ``first`` to before ``last``."""
        if self.ends is not None:
            return np.equal(self.lengths(first, last), 0)
        here = self.numbers[first:last]
        missing: NDArray[np.bool_] = here == NO_LABEL if here.dtype == np.int64 else np.isnan(here)
        return missing

    def lengths(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """(rows,) numbers of each, of lists; 0 where there is none."""
        assert self.ends is not None
        return np.diff(self.ends[first:last], prepend=self.ends[first - 1] if first else 0)


def values_of(role: str, column: Any, form: ExampleForm, first: int, label: str, place: str) -> Values:
    """The numbers of an Arrow array whose first row is number ``first``. Raises UserError that names a row."""
    reader = _Reader(role, first, label, place)
    holds = form.rules.roles.holding(role)
    if holds == "int":
        return Values(reader.labels(column, form.labels))
    return Values(reader.numbers(column)) if holds == "float" else reader.lists(column)


@frozen
class _Reader:
    role: str
    first: int
    label: str
    place: str

    def refuse(self, row: int, what: str) -> None:
        msg = f"row {self.first + row} of {self.label}: {self.role} {what}{self.place}"
        raise UserError(msg)

    def labels(self, column: Any, known: tuple[str, ...]) -> NDArray[np.int64]:
        """Whole numbers as they are, strings by their place among all."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pc.index_in(column, value_set=pa.array(known, column.type))
        found: NDArray[np.int64] = pc.fill_null(column.cast(pa.int64()), int(NO_LABEL)).to_numpy(zero_copy_only=False)
        return found

    def numbers(self, column: Any) -> NDArray[np.float64]:
        import pyarrow as pa
        import pyarrow.compute as pc

        found: NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        wrong = ~np.isfinite(found) & pc.is_valid(column).to_numpy(zero_copy_only=False)
        if wrong.any():
            row = int(np.argmax(wrong))
            self.refuse(row, f"is {found[row]}, expected a finite number")
        return found

    def lists(self, column: Any) -> Values:
        import pyarrow as pa
        import pyarrow.compute as pc

        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        found = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
        ends = np.cumsum(lengths, dtype=np.int64)
        wrong = np.flatnonzero(~np.isfinite(found))
        if wrong.size:
            row = int(np.searchsorted(ends, wrong[0], side="right"))
            self.refuse(row, f"has {found[wrong[0]]} among its numbers, expected finite ones")
        return Values(found, ends)


def label_names(splits: Any, roles: Any) -> tuple[str, ...]:
    """All strings that stand as a label in any of the splits, sorted; none where labels are numbers.

    Raises UserError for those of a stream, of which only reading to the end tells.
    """
    import pyarrow.compute as pc

    found: set[str] = set()
    for role in roles.values:
        for name, rows in splits.items():
            if roles.holding(role) != "int" or role not in rows.features or not _is_string(rows.features[role]):
                continue
            if not hasattr(rows, "__len__"):
                msg = (
                    f"{role} of the stream {name} is text: a number for each is known once all are read; "
                    "give whole numbers, or data that is no stream"
                )
                raise UserError(msg)
            table = rows.select_columns([role]).with_format("arrow")[:]
            found |= {value for value in pc.unique(table.column(role)).to_pylist() if value is not None}
    return tuple(sorted(found))


def _is_string(feature: Any) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string", "string_view")
