"""What a dataset promises."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from neobert.testing.context import as_options, build, temporary_context
from neobert.testing.promises import require

_ROWS = 500
"""Rows of each split that are read."""
_SHARED = 0.1
"""Share of held-out rows that may be in train by chance: real corpora repeat themselves."""


def check_dataset(options: Any, *, text_column: str | None = None, train_split: str = "train") -> None:
    """Builds the dataset twice and reads its first 500 rows. Raises `AssertionError` for a broken promise.

    ``text_column`` and ``train_split`` are the recipe's keys of those names. Every other split is taken for
    rows that are held out.
    """
    options = as_options(options)
    with temporary_context() as context:
        splits = build("dataset", options, context)
        _check_splits(splits, train_split)
        rows = {name: _first_rows(split) for name, split in splits.items()}
        for name, found in rows.items():
            _check_rows(name, found, text_column)
            promise = "a split can be read again from its start"
            require(_first_rows(splits[name]) == found, promise, given=name)
        again = build("dataset", options, context)
        promise = "building a dataset again gives the same splits and rows, in the same order"
        require(again.keys() == splits.keys(), promise, found=sorted(again))
        for name, found in rows.items():
            require(_first_rows(again[name]) == found, promise, given=name)
    for name in rows.keys() - {train_split}:
        _check_apart(splits[train_split], name, rows[name])


def _check_splits(splits: Any, train_split: str) -> None:
    from datasets import Dataset, IterableDataset

    require(isinstance(splits, Mapping), "a dataset is a mapping of splits", found=type(splits))
    require(train_split in splits, f"a dataset has a split `{train_split}`", found=sorted(splits))
    for name, split in splits.items():
        kind = isinstance(split, Dataset | IterableDataset)
        require(kind, "a split is a datasets.Dataset or IterableDataset", given=name, found=type(split))


def _check_rows(name: str, rows: list[dict[str, Any]], text_column: str | None) -> None:
    require(len(rows) > 0, "a split has rows", given=name)
    columns = {frozenset(row) for row in rows}
    require(len(columns) == 1, "all rows of a split have the same columns", given=name, found=columns)
    wanted = [text_column] if text_column else [key for key in rows[0] if _is_content(key, rows)]
    promise = "rows have a column of text, or `input_ids`"
    require(bool(wanted) and set(wanted) <= set(rows[0]), promise, given=name, found=sorted(rows[0]))
    empty = all(not row[column] for row in rows for column in wanted)
    require(not empty, "rows hold something", given=name, found=rows[0])


def _is_content(key: str, rows: list[dict[str, Any]]) -> bool:
    if key == "input_ids":
        return all(isinstance(token, int) for row in rows[:10] for token in row[key])
    return all(isinstance(row[key], str | None) for row in rows) and any(row[key] for row in rows)


def _check_apart(train: Any, name: str, held_out: list[dict[str, Any]]) -> None:
    trained_on = {repr(sorted(row.items())) for row in islice(iter(train), 20 * _ROWS)}
    seen = [row for row in held_out if repr(sorted(row.items())) in trained_on]
    promise = "rows that are held out are not trained on"
    found = f"{len(seen)} of {len(held_out)} are, such as {seen[:1]}"
    require(len(seen) <= _SHARED * len(held_out), promise, given=f"split {name}", found=found)


def _first_rows(split: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in islice(iter(split), _ROWS)]
