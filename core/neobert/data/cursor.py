"""Where a run is in its data: small, exact, and all that a checkpoint needs to go on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, fields, frozen

_TRIPLES = ("carry", "marks")


@frozen
class Cursor:
    """The place before which everything has been trained on."""

    epoch: int = 0
    """Passes over the data that are finished, but for what is carried over."""
    window: int = 0
    """The window of this epoch's order that is being trained on."""
    position: int = 0
    """Micro-batches of that window's plan that are done, over all ranks."""
    carry: tuple[tuple[int, int, int], ...] = field(default=())
    """Sequences that earlier windows left for this one: (document, first token, one past the last)."""
    marks: tuple[tuple[int, int, int], ...] = field(default=())
    """Of a mixture, where each source stands when the window begins: (its epoch, sequences of that epoch, their
    tokens)."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), **{name: [list(triple) for triple in getattr(self, name)] for name in _TRIPLES}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        """The cursor that `to_json` wrote. Raises ValueError for anything else."""
        names = {attribute.name for attribute in fields(cls)}
        if not isinstance(value, Mapping) or set(value) | {"marks"} != names:
            msg = f"a cursor has the keys {sorted(names)}, got {value!r}"
            raise ValueError(msg)
        epoch, window, position = (_count(name, value[name]) for name in ("epoch", "window", "position"))
        return cls(
            epoch, window, position, _triples("carry", value["carry"]), _triples("marks", value.get("marks", []))
        )


def _triples(name: str, value: object) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(value, list) or not all(isinstance(triple, list) and len(triple) == 3 for triple in value):
        msg = f"a cursor's {name} is a list of three numbers each, got {value!r}"
        raise ValueError(msg)
    return tuple((_count(name, a), _count(name, b), _count(name, c)) for a, b, c in value)


def _count(name: str, value: object) -> int:
    if type(value) is not int or value < 0:
        msg = f"a cursor's {name} holds whole numbers from 0, got {value!r}"
        raise ValueError(msg)
    return value
