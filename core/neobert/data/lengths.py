"""How long documents are: quantiles and a small histogram, in tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTILES = {"shortest": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "longest": 1.0}
_WIDTH = 40
"""Of the longest bar, in characters."""


def describe_lengths(lengths: NDArray[np.integer[Any]], noun: str = "document") -> tuple[str, ...]:
    """Lines about the lengths (documents,) of those that have a token; none where there is none."""
    lengths = lengths[lengths > 0]
    if not lengths.size:
        return ()
    found = np.quantile(lengths, list(QUANTILES.values()), method="lower").tolist()
    quantiles = ", ".join(f"{name} {value:,}" for name, value in zip(QUANTILES, found, strict=True))
    article = "an" if noun.startswith("e") else "a"
    line = f"tokens {article} {noun}: {quantiles}; mean {lengths.mean():,.1f}"
    return (line, *_histogram(lengths, noun))


def _histogram(lengths: NDArray[np.integer[Any]], noun: str) -> list[str]:
    """Documents by powers of two: a bar, how many, and their share of all tokens."""
    powers = np.log2(lengths.astype(np.float64)).astype(np.int64)  # exact: a float64 knows every power of two
    documents = np.bincount(powers)
    tokens = np.bincount(powers, weights=lengths.astype(np.float64))
    shortest = int(np.flatnonzero(documents)[0])
    rows = []
    for power in range(shortest, len(documents)):
        count = int(documents[power])
        bar = "#" * (max(1, round(_WIDTH * count / documents.max())) if count else 0)
        name = f"{2**power:,}-{2 ** (power + 1) - 1:,}" if power else "1"
        rows.append((name, bar, f"{count:,}", f"{tokens[power] / tokens.sum():.1%}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        f"  {name:>{widths[0]}} | {bar:{widths[1]}} {count:>{widths[2]}} {noun}s, {share:>{widths[3]}} of the tokens"
        for name, bar, count, share in rows
    ]
