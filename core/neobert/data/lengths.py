"""How long documents are: quantiles and a small histogram, in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = {"shortest": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "longest": 1.0}
_WIDTH = 40
"""Of the longest bar, in characters."""
_CHUNK = 1_000_000
"""Documents that are looked at together: of a corpus of any size no second copy of all lengths is made."""


@frozen(kw_only=True)
class LengthBin:
    """The documents whose length lies between two powers of two."""

    least: int
    most: int
    documents: int
    tokens: int


@frozen(kw_only=True)
class Lengths:
    """What is told of the lengths of documents that have a token, in tokens."""

    quantiles: dict[str, int]
    mean: float
    bins: tuple[LengthBin, ...]
    """From the shortest document's to the longest one's, empty ones too."""

    @classmethod
    def of(cls, lengths: NDArray[np.integer[Any]]) -> Self | None:
        """Of (documents,) lengths; None where no document has a token."""
        values, counts = _distinct(lengths)
        if not values.size:
            return None
        until = np.cumsum(counts)
        # The same index as numpy's method "lower": the last document that is not beyond the share of all.
        which = np.floor(np.array(list(QUANTILES.values())) * (until[-1] - 1)).astype(np.int64)
        quantiles = values[np.searchsorted(until, which, side="right")].tolist()
        return cls(
            quantiles=dict(zip(QUANTILES, quantiles, strict=True)),
            mean=float((values * counts).sum() / until[-1]),
            bins=tuple(_bins(values, counts)),
        )


def describe_lengths(lengths: NDArray[np.integer[Any]], noun: str = "document") -> tuple[str, ...]:
    """Lines about the lengths (documents,) of those that have a token; none where there is none."""
    found = Lengths.of(lengths)
    if found is None:
        return ()
    quantiles = ", ".join(f"{name} {value:,}" for name, value in found.quantiles.items())
    article = "an" if noun.startswith("e") else "a"
    line = f"tokens {article} {noun}: {quantiles}; mean {found.mean:,.1f}"
    return (line, *_histogram(found.bins, noun))


def _distinct(lengths: NDArray[np.integer[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lengths from 1 on that there are, in order, and how many documents have each."""
    values, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for start in range(0, len(lengths), _CHUNK):
        chunk, here = np.unique(lengths[start : start + _CHUNK], return_counts=True)
        values, at = np.unique(np.concatenate((values, chunk.astype(np.int64))), return_inverse=True)
        counts = np.bincount(at, weights=np.concatenate((counts, here))).astype(np.int64)
    return values[values > 0], counts[values > 0]


def _bins(values: NDArray[np.int64], counts: NDArray[np.int64]) -> list[LengthBin]:
    powers = np.log2(values.astype(np.float64)).astype(np.int64)  # exact: a float64 knows every power of two
    documents, tokens = np.bincount(powers, counts), np.bincount(powers, counts * values)
    return [
        LengthBin(least=2**power, most=2 ** (power + 1) - 1, documents=int(documents[power]), tokens=int(tokens[power]))
        for power in range(int(powers[0]), len(documents))
    ]


def _histogram(bins: tuple[LengthBin, ...], noun: str) -> list[str]:
    """Documents by powers of two: a bar, how many, and their share of all tokens."""
    highest, total = max(it.documents for it in bins), sum(it.tokens for it in bins)
    rows = []
    for it in bins:
        bar = "#" * (max(1, round(_WIDTH * it.documents / highest)) if it.documents else 0)
        name = f"{it.least:,}-{it.most:,}" if it.most > 1 else "1"
        rows.append((name, bar, f"{it.documents:,}", f"{it.tokens / total:.1%}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"  {name:>{widths[0]}} | {bar:{widths[1]}} {count:>{widths[2]}} {noun}s, {share:>{widths[3]}} of the tokens"
        for name, bar, count, share in rows
    ]
