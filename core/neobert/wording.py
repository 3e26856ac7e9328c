"""Numbers with their nouns, as people write them."""

from __future__ import annotations

from collections.abc import Iterable


def counted(number: int, noun: str) -> str:
    """``1 document``, ``2,000 documents``, ``3 batches``: the noun's plural where it is not one of them."""
    ending = "es" if noun.endswith(("s", "x", "tch", "sh")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def listed(names: Iterable[str], joined: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; empty for none."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} {joined} {last}" if first else last
