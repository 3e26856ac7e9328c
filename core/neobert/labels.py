"""What classes are called that the labels of some data mean."""

from __future__ import annotations

from attrs import frozen


@frozen
class Labels:
    """The classes of an objective's labels, in the order of their numbers."""

    names: tuple[str, ...] = ()
    """Of numbers without names the numbers themselves."""
    named: bool = False
    """Whether the data itself has names for them."""
    problem: str | None = None
    """Why they are no classes numbered from 0: told by a loss that needs them to be."""
