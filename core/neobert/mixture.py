"""What a dataset plugin says of rows that come from several sources: how they are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import ge, gt, min_len, optional

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SOURCE_COLUMN = "mixture_source"
"""Column of a mixture's rows: the number of each row's source, an int from 0. Rows come source after source."""


@frozen(kw_only=True)
class MixtureSource:
    """One source of a mixture, and which of its training documents are used.

    A document's length is its tokens without special tokens, an example's that of all its texts with them; one out of
    bounds is left out and counted.
    """

    name: str
    """For logs and errors; the source's order depends on it too."""
    weight: float | None = field(default=None, validator=optional(gt(0.0)))
    """Its part of the tokens, relative to the others'; None for all sources: by size."""
    min_length: int | None = field(default=None, validator=optional(ge(1)))
    max_length: int | None = field(default=None, validator=optional(ge(1)))
    on_damaged_row: Literal["skip", "stop"] = "skip"
    """Of a stream: what becomes of a row that cannot be read."""
    prefixes: Mapping[str, str] = field(factory=dict)
    """Where rows are examples: role -> text put before."""

    def out_of_bounds(self, lengths: NDArray[np.integer[Any]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which documents of these lengths have tokens but fewer, and which have more, than is let through."""
        short = (lengths > 0) & (lengths < (self.min_length or 0))
        long = (lengths > self.max_length) if self.max_length is not None else short & False
        return short, long & ~short


@frozen(kw_only=True)
class Mixture:
    """What an options class's method ``mixture()`` returns, where its ``build`` returns rows with `SOURCE_COLUMN`.

    Raises ValueError for no source, a name that stands twice, or where only some sources have a weight.
    """

    sources: tuple[MixtureSource, ...] = field(validator=min_len(1))
    """Number i of the column is the i-th."""
    alpha: float = field(default=1.0, validator=ge(0.0))
    """Without weights, a source of n tokens gets a share proportional to n ** alpha: 0 gives all the same."""
    when_exhausted: Literal["repeat", "stop"] = "repeat"
    """A source that has been read through is read again in another order, or the run ends where the first one does."""
    one_source_a_batch: bool = False
    """Each micro-batch has sequences, or examples, of one source."""

    def __attrs_post_init__(self) -> None:
        if len(set(self.names)) < len(self.sources):
            msg = f"each source of a mixture has its own name, got {', '.join(self.names)}"
            raise ValueError(msg)
        if len({source.weight is None for source in self.sources}) > 1:
            msg = "either every source of a mixture has a weight, or none has"
            raise ValueError(msg)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sources, in order."""
        return tuple(source.name for source in self.sources)

    def shares(self, tokens: Mapping[str, int]) -> tuple[float, ...]:
        """Each source's share of the tokens trained on; they sum to 1. ``tokens`` is how many each one has.

        Rounded, so that the last bit of a power, which differs between machines, changes no order.
        """
        parts = [
            float(tokens[source.name]) ** self.alpha if source.weight is None else source.weight
            for source in self.sources
        ]
        return tuple(float(f"{part / sum(parts):.12g}") for part in parts)
