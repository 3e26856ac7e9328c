"""Where a run is in its data: small, exact, and all that a checkpoint needs to go on bit for bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import asdict, field, fields, frozen

_LISTS = {"carry": 3, "marks": 5}
"""Fields that are lists, and how many numbers an item has."""
_ADDED = {"marks", "share", "content", "places"}
"""Fields that a cursor may lack."""


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
    marks: tuple[tuple[int, ...], ...] = field(default=())
    """Of a mixture, where each source stands when the window begins: the numbers of its `lanes.Mark`."""

    share: tuple[int, ...] = field(default=())
    """Of a stream that is shared out by file: (rank, ranks, files) that this is a place of."""
    content: str = ""
    """Of the same: the fingerprint of that rank's rows."""
    places: tuple[Cursor, ...] = field(default=())
    """Of the same, for a checkpoint: every rank's own cursor. The other fields are unused then."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        found = asdict(self, recurse=False) | {name: list(map(list, getattr(self, name))) for name in _LISTS}
        return found | {"share": list(self.share), "places": [place.to_json() for place in self.places]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cursor:
        """The cursor that `to_json` wrote. Raises ValueError for anything else."""
        names = {attribute.name for attribute in fields(cls)}
        if not isinstance(value, Mapping) or set(value) | _ADDED != names:
            msg = f"a cursor has the keys {sorted(names)}, got {value!r}"
            raise ValueError(msg)
        epoch, window, position = (_count(name, value[name]) for name in ("epoch", "window", "position"))
        carry, marks = (_items(name, value.get(name, []), size) for name, size in _LISTS.items())
        (share,) = _items("share", [value["share"]], 3) if value.get("share") else ((),)
        return cls(
            epoch=epoch,
            window=window,
            position=position,
            carry=tuple((a, b, c) for a, b, c in carry),
            marks=marks,
            share=share,
            content=str(value.get("content", "")),
            places=tuple(map(cls.from_json, value.get("places", ()))),
        )


@frozen
class Cursors:
    """Where a run of several objectives is in the data of each."""

    of: Mapping[str, Cursor]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: cursor.to_json() for name, cursor in self.of.items()}


Place = Cursor | Cursors
"""Where a run is in its data, of one objective or of several."""


def _items(name: str, value: object, size: int) -> tuple[tuple[int, ...], ...]:
    if not isinstance(value, list) or not all(isinstance(item, list) and len(item) == size for item in value):
        msg = f"a cursor's {name} is a list of {size} numbers each, got {value!r}"
        raise ValueError(msg)
    return tuple(tuple(_count(name, number) for number in item) for item in value)


def _count(name: str, value: object) -> int:
    if type(value) is not int or value < 0:
        msg = f"a cursor's {name} holds whole numbers from 0, got {value!r}"
        raise ValueError(msg)
    return value
