"""Numbers with their nouns, as people write them."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 document``, ``2,000 documents``, ``3 batches``: the noun's plural where it is not one of them."""
    ending = "es" if noun.endswith(("s", "x", "tch", "sh")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"
