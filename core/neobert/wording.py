"""Numbers with their nouns, as people write them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def counted(number: int, noun: str) -> str:
    """``1 document``, ``2,000 documents``, ``3 batches``, ``4 queries``: the plural where it is not one of them."""
    return f"{number:,} {noun if number == 1 else _plural(noun)}"


def listed(names: Iterable[str], joined: str = "and") -> str:
    """``a``, ``a and b``, ``a, b and c``; empty for none."""
    *first, last = [*names] or [""]
    return f"{', '.join(first)} {joined} {last}" if first else last


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'NAME'?`` where one that is known is near; empty where none is."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def figure_text(name: str, value: float) -> str:
    """A figure with four decimals; of those named ``candidates`` it is how many there are."""
    return f"{value:,.0f}" if name.rpartition("/")[2] == "candidates" else f"{value:.4f}"


def gigabytes(count: int) -> str:
    """Bytes as ``2.50 GiB``."""
    return f"{count / 2**30:.2f} GiB"


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "tch", "sh")) else f"{noun}s"
