"""The texts of rows whose columns are named by role: for whoever reads all of them, such as a tokenizer in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from neobert.data.example_blocks import arrow_blocks
from neobert.data.role_columns import columns_of
from neobert.data.texts import files_of, python_values
from neobert.roles import Roles

_ROWS_A_BATCH = 1000


def role_texts(rows: Any, roles: Roles) -> Iterator[str]:
    """Every text, row by row, without prefixes. Raises UserError with the row where bytes are not UTF-8."""
    columns = [name for role in (*roles.texts, *roles.lists) for name in columns_of(role, rows, roles)]
    for parts in _batches(rows, columns):
        for row in zip(*parts, strict=True):
            for value in row:
                if isinstance(value, str):
                    yield value
                elif value:
                    yield from (text for text in value if isinstance(text, str))


def _batches(rows: Any, columns: list[str]) -> Iterator[list[list[Any]]]:
    """The values of each column, some rows after others."""
    if not hasattr(rows, "__len__"):
        for batch in rows.iter(batch_size=_ROWS_A_BATCH):
            yield [batch[name] for name in columns]
        return
    place = files_of(rows)
    for first, block in arrow_blocks(rows.select_columns(columns)):
        yield [python_values(block[name], first, "train", place) for name in columns]
