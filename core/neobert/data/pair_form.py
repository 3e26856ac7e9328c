"""Two texts as one sequence, in the form that a tokenizer has for pairs, and where they are cut.

Shapes: P pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from neobert.errors import UserError

_PROBES = (("a", "the"), ("the", "a"), ("0", "a"), ("e", "0"))
_Int64s = NDArray[np.int64]


@frozen
class PairTokens:
    """The ids that a tokenizer puts before, between and after two texts."""

    prefix: tuple[int, ...] = ()
    middle: tuple[int, ...] = ()
    suffix: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """Special tokens of a pair."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    @classmethod
    def of(cls, tokenizer: Any) -> PairTokens:
        """Found from what the tokenizer does: two texts encoded together, and each by itself."""
        for first, second in _PROBES:
            one, other = (list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in (first, second))
            full = list(tokenizer(first, second)["input_ids"])
            for start in range(len(full) - len(one) - len(other) + 1):
                for gap in range(len(full) - start - len(one) - len(other) + 1):
                    end = start + len(one)
                    if one and other and full[start:end] == one and full[end + gap : end + gap + len(other)] == other:
                        inner = tuple(full[end : end + gap])
                        return cls(tuple(full[:start]), inner, tuple(full[end + gap + len(other) :]))
        msg = f"cannot tell how {type(tokenizer).__name__} joins two texts: it encodes none of {_PROBES} as a pair"
        raise UserError(msg)

    def around(self, first: NDArray[np.integer[Any]], second: NDArray[np.integer[Any]]) -> _Int64s:
        """(n,) int64: both, with what stands around them."""
        parts: tuple[Any, ...] = (self.prefix, first, self.middle, second, self.suffix)
        return np.concatenate([np.asarray(part, dtype=np.int64) for part in parts])


def cut_pairs(first: _Int64s, second: _Int64s, room: int) -> tuple[_Int64s, _Int64s]:
    """(P,) tokens of either text -> (P,) of each that stay, at most ``room`` together: the longer one is cut first.

    As tokenizers' ``longest_first`` has it: the longer down to what the other leaves, then both to half of the room.
    """
    short, long = np.minimum(first, second), np.maximum(first, second)
    kept = np.minimum(long, np.maximum(short, room - short))
    halved = short + kept > room
    short = np.where(halved, room // 2, short)
    kept = np.where(halved, room // 2 + room % 2, kept)
    swapped = first > second
    return np.where(swapped, kept, short), np.where(swapped, short, kept)
