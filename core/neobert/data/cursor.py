"""Where a run is in its data: small, exact, and all that a checkpoint needs to go on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, fields, frozen


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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "carry": [list(piece) for piece in self.carry]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        """The cursor that `to_json` wrote. Raises ValueError for anything else."""
        names = {attribute.name for attribute in fields(cls)}
        if not isinstance(value, Mapping) or set(value) != names:
            msg = f"a cursor has the keys {sorted(names)}, got {value!r}"
            raise ValueError(msg)
        carry = value["carry"]
        if not isinstance(carry, list) or not all(isinstance(piece, list) and len(piece) == 3 for piece in carry):
            msg = f"a cursor's carry is a list of [document, start, stop], got {carry!r}"
            raise ValueError(msg)
        numbers = {name: _count(name, value[name]) for name in sorted(names - {"carry"})}
        pieces = ((_count("carry", a), _count("carry", b), _count("carry", c)) for a, b, c in carry)
        return cls(**numbers, carry=tuple(pieces))


def _count(name: str, value: object) -> int:
    if type(value) is not int or value < 0:
        msg = f"a cursor's {name} holds whole numbers from 0, got {value!r}"
        raise ValueError(msg)
    return value
