"""Keys of texts: the same tokens have the same key, so that examples with a common text are found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray


def text_key(ids: NDArray[np.integer[Any]]) -> int:
    """A 63-bit hash, 1 or more, of token ids (n,) of whatever width."""
    digest = hashlib.blake2b(np.asarray(ids, dtype="<i4").tobytes(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 1) or 1


def without_prefix(ids: NDArray[np.integer[Any]], prefix: tuple[int, ...]) -> NDArray[np.integer[Any]]:
    """What follows the prefix's own tokens, as far as they are there: a prefix's last token may be joined with what
    comes after it."""
    same = 0
    for mine, given in zip(ids[: len(prefix)].tolist(), prefix, strict=False):
        if mine != given:
            break
        same += 1
    return ids[same:]


@frozen(eq=False)
class TextKeys:
    """The keys of some examples' texts. No two examples of a micro-batch may have one in common."""

    example: NDArray[np.int64]
    """(m,) which of the examples that were asked about has the key,"""
    key: NDArray[np.int64]
    """(m,) and the key."""
    beginning: Callable[[int, int], str]
    """(example, key) -> how that text begins, for people."""
