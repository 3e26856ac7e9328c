"""The keys of several sources' texts, as of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from neobert.data.text_keys import TextKeys

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.example_keys import KeyTable


@frozen(eq=False)
class JoinedKeys:
    """Those of examples that stand source after source."""

    tables: tuple[KeyTable, ...]
    bounds: NDArray[np.int64]
    """(sources + 1,) the number of each source's first example."""

    def of(self, rows: NDArray[np.int64]) -> TextKeys | None:
        """Of the texts of these rows."""
        part = np.searchsorted(self.bounds, rows, side="right") - 1
        places = [np.flatnonzero(part == number) for number in range(len(self.tables))]
        found = [
            table.of(rows[mine] - self.bounds[number])
            for number, (table, mine) in enumerate(zip(self.tables, places, strict=True))
        ]
        return join_keys(found, places)


def join_keys(parts: Sequence[TextKeys | None], places: Sequence[NDArray[np.int64]]) -> TextKeys | None:
    """The keys of parts of a pool, each with the places of its examples there; None where no part has any."""
    known = [(keys, mine) for keys, mine in zip(parts, places, strict=True) if keys is not None]
    if not known:
        return None

    def beginning(example: int, key: int) -> str:
        keys, number = next((keys, np.flatnonzero(mine == example)[0]) for keys, mine in known if example in mine)
        return keys.beginning(int(number), key)

    return TextKeys(
        np.concatenate([mine[keys.example] for keys, mine in known]),
        np.concatenate([keys.key for keys, _ in known]),
        beginning,
    )
