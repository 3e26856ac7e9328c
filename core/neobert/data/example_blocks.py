"""Rows of role columns, block by block: their texts row after row, and the numbers beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from neobert.data.example_values import Values, values_of
from neobert.data.role_columns import columns_of
from neobert.data.texts import ROWS_A_BLOCK, files_of, python_values

if TYPE_CHECKING:
    from neobert.data.example_form import ExampleForm


@frozen(eq=False)
class Block:
    """Some rows, one after another."""

    rows: int
    texts: list[Any]
    """All texts of the first row, then those of the second ...: strings with their prefixes, or lists of ids. One that
    is not there is empty."""
    owners: NDArray[np.uint8]
    """(texts,) the role of each, as the number of its slot."""
    counts: NDArray[np.int32]
    """(rows,) texts of each row."""
    values: Mapping[str, Values]


def stored_blocks(rows: Any, layout: RoleLayout, label: str) -> Iterator[Block]:
    """All rows of a ``datasets.Dataset``, in order. Raises UserError that names a row that cannot be read."""
    place = files_of(rows)
    for first, columns in arrow_blocks(rows):
        yield layout.block(columns, first, label, place)


def arrow_blocks(rows: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of the first row, Arrow array of each column) of some rows after others."""
    arrow = rows.with_format("arrow")
    for first in range(0, len(rows), ROWS_A_BLOCK):
        table = arrow[first : min(first + ROWS_A_BLOCK, len(rows))]
        yield first, {name: _whole(table.column(name)) for name in table.column_names}


class RoleLayout:
    """Which columns the texts and values of a row come from: the same for all rows."""

    def __init__(self, form: ExampleForm, rows: Any) -> None:
        self._form = form
        self.lists = tuple(role for role in form.rules.roles.lists if columns_of(role, rows, form.rules.roles))
        """The roles of any number of texts that there are columns for."""
        self._slots = [columns_of(role, rows, form.rules.roles) for role in form.rules.slots]
        self._values = [role for role in form.rules.roles.values if columns_of(role, rows, form.rules.roles)]

    def block(self, columns: Mapping[str, Any], first: int, label: str, place: str = "") -> Block:
        """Of Arrow arrays by column; ``first`` is the number of their first row."""
        slots, owners, rows = [], [], len(next(iter(columns.values())))
        for number, (role, names) in enumerate(zip(self._form.rules.slots, self._slots, strict=True)):
            prefix = self._form.prefixes.get(role, "")
            one = role in self._form.rules.roles.texts
            for name in names:
                found = python_values(columns[name], first, label, place)
                slots.append([_texts(value, prefix, one=one) for value in found])
                owners.append(number)
        texts: list[Any] = []
        counts = np.zeros(rows, dtype=np.int32)
        whose: list[int] = []
        for row, parts in enumerate(zip(*slots, strict=True)):
            for number, part in zip(owners, parts, strict=True):
                texts += part
                whose += [number] * len(part)
                counts[row] += len(part)
        values = {role: values_of(role, columns[role], self._form, first, label, place) for role in self._values}
        return Block(rows, texts, np.array(whose, dtype=np.uint8), counts, values)


def _texts(value: Any, prefix: str, *, one: bool) -> list[Any]:
    """A cell as a list of texts. A role of one text always has one, that of many as many as there are."""
    if one:
        return [_prefixed(value, prefix)]
    if value is None:
        return []
    several = isinstance(value, list) and (not value or not isinstance(value[0], int))
    return [_prefixed(item, prefix) for item in value] if several else [_prefixed(value, prefix)]


def _prefixed(text: Any, prefix: str) -> Any:
    if not isinstance(text, str):
        return text or []
    return prefix + text if text.strip() else ""


def _whole(column: Any) -> Any:
    """One array, where a table has it in pieces."""
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
