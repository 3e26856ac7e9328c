"""A window of a stream: rows that are in memory together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.data.sequences import Cut


@frozen(eq=False)
class Window:
    """Rows of a stream as token ids, without special tokens."""

    first: int
    """Row number of the first."""
    ids: NDArray[np.int64]
    ends: NDArray[np.int64]
    lengths: NDArray[np.int32]
    more: bool
    """Whether the stream has rows after these."""
    damaged: int = 0
    """How many of them cannot be read: they have no token."""
    too_short: int = 0
    """How many a mixture's filter leaves out: their length is 0 too."""
    too_long: int = 0

    def row(self, number: int) -> NDArray[np.int64]:
        """The tokens of a row, by its number in the stream."""
        end = int(self.ends[number - self.first])
        return self.ids[end - int(self.lengths[number - self.first]) : end]

    def kept(self, number: int) -> Any:
        """What a plan keeps of a row, to be copied where it outlives the window."""
        return self.row(number)


def rows_left_out(window: Window, cut: Cut) -> dict[str, int]:
    """How many rows of a window are not trained on, or not whole, by what became of them."""
    filtered = window.too_short + window.too_long
    empty = int((window.lengths == 0).sum()) - window.damaged - filtered
    over = {"split": "split_documents", "truncate": "truncated_documents", "drop": "dropped_documents"}[cut.overflow]
    found = {"damaged_rows": window.damaged, "empty_rows": empty, "filtered_rows": filtered, over: cut.over}
    return {name: count for name, count in found.items() if count}
