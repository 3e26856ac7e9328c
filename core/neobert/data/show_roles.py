"""Which example and which role each sequence of a micro-batch is of, from the fields that collators of roles give."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import torch
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

PLACES = ("query", "positive", "text", "first", "second")
"""Fields (B,) that name each example's sequence of a role."""
_NUMBERS = {"label": ("text",), "score": ("first", "text")}
"""Fields (B,) of numbers, and the roles beside which they are shown."""
_SEVERAL = ("negative", "negative_of")
KNOWN = {*PLACES, *_NUMBERS, *_SEVERAL, "sentence", "text_key"}
"""Fields that this tells of."""


@frozen(order=True)
class Heading:
    """Of one sequence; they sort example by example."""

    example: int
    place: int
    sequence: int
    text: str


def headings(fields: Mapping[str, Tensor], sequences: int) -> list[Heading]:
    """Those of all sequences, example by example; none where the fields do not tell them all."""
    found = [
        Heading(example, place, sequence, f"{example + 1} {name}{_number(fields, name, example)}")
        for place, name in enumerate(PLACES)
        if _is_places(fields.get(name))
        for example, sequence in enumerate(fields[name].tolist())
    ]
    if all(_is_places(fields.get(name)) for name in _SEVERAL):
        pairs = zip(*(fields[name].tolist() for name in _SEVERAL), strict=True)
        found += [Heading(example, len(PLACES), sequence, f"{example + 1} negative") for sequence, example in pairs]
    told = sorted(heading.sequence for heading in found)
    return sorted(found) if told == list(range(sequences)) else []


def roles_line(found: list[Heading]) -> str:
    """How many sequences there are of each role."""
    counts = Counter(heading.text.split()[1].rstrip(",") for heading in found)
    roles = ", ".join(f"{count:,} {role}" for role, count in counts.items())
    return f"{len({heading.example for heading in found}):,} examples by role: {roles}"


def _is_places(field: Tensor | None) -> bool:
    return field is not None and field.ndim == 1 and field.dtype == torch.int64


def _number(fields: Mapping[str, Tensor], role: str, example: int) -> str:
    for name, beside in _NUMBERS.items():
        if role in beside and name in fields and fields[name].ndim == 1:
            return f", {name} {fields[name][example].item():g}"
    return ""
