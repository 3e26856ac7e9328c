"""The rows of a mixture: source after source where all are stored, by turns where any is a stream."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.damage import DAMAGE_COLUMN
from neobert.errors import UserError
from neobert.mixture import SOURCE_COLUMN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from neobert.mixture import Mixture

_PARTS = "_mixture_parts"


def mixed_stream(parts: Mapping[str, Any]) -> Any:
    """A ``datasets.IterableDataset`` of all sources' rows by turns, each with its source's number in `SOURCE_COLUMN`.

    ``parts`` are ``datasets.Dataset`` or ``IterableDataset``, in the mixture's order, each with its one column of
    ``text`` or ``input_ids``, or with columns by role, the same type everywhere. That order is for whoever looks at the
    rows, such as a tokenizer that is trained on them; the core trains on each part by itself (see `parts_of`).
    """
    import datasets

    columns = {name: kind for rows in parts.values() for name, kind in rows.features.items() if name != DAMAGE_COLUMN}
    features = datasets.Features({**columns, SOURCE_COLUMN: datasets.Value("int32")})
    numbered = []
    for number, rows in enumerate(parts.values()):
        rows = rows.select_columns([name for name in columns if name in rows.features])
        rows = rows.to_iterable_dataset() if hasattr(rows, "__len__") else rows
        numbered.append(rows.map(_Number(number, columns), features=features))
    joined = datasets.interleave_datasets(numbered, stopping_strategy="all_exhausted_without_replacement")
    setattr(joined, _PARTS, dict(parts))
    return joined


class _Number:
    """Adds a source's number to a row, and nothing in columns that others have. Picklable, as datasets have to be."""

    def __init__(self, number: int, columns: Iterable[str]) -> None:
        self.number = number
        self.columns = tuple(columns)

    def __call__(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {**dict.fromkeys(self.columns), **row, SOURCE_COLUMN: self.number}


def parts_of(rows: Any) -> dict[str, Any] | None:
    """The rows of each source of what `mixed_stream` made; None of any other."""
    parts: dict[str, Any] | None = getattr(rows, _PARTS, None)
    return parts


def by_source(rows: Any, mixture: Mixture) -> dict[str, Any]:
    """The rows of each source, without the column that tells them apart.

    Raises UserError where the rows lack that column, where a number is no source's, or where rows of one source stand
    among another's.
    """
    if SOURCE_COLUMN not in rows.column_names:
        msg = f"a dataset with a method mixture() returns rows with a column {SOURCE_COLUMN}, and these have none"
        raise UserError(msg)
    numbers = np.asarray(rows.select_columns([SOURCE_COLUMN]).with_format("numpy")[:][SOURCE_COLUMN])
    if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < len(mixture.sources) and (np.diff(numbers) >= 0).all()):
        msg = (
            f"column {SOURCE_COLUMN} numbers the sources from 0 to {len(mixture.sources) - 1}, and rows come source "
            "after source: these rows do not"
        )
        raise UserError(msg)
    bounds = np.searchsorted(numbers, np.arange(len(mixture.sources) + 1)).tolist()
    content = rows.remove_columns([SOURCE_COLUMN])
    return {
        # Of no rows at the end: the library takes no empty range that begins there.
        name: content.select(range(start, stop) if start < stop else [])
        for name, (start, stop) in zip(mixture.names, pairwise(bounds), strict=True)
    }
