"""Tables inside ``[trainer]``: what becomes of a step that goes wrong, and an average of the weights."""

from __future__ import annotations

from math import inf
from typing import Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, lt, optional

WINDOW = 100
LIMIT = 5


@frozen(kw_only=True)
class GuardOptions:
    """What a step is judged by before it touches the weights, and what is done where it fails."""

    action: Literal["stop", "skip", "rollback"] = field(
        default="stop",
        metadata={
            "help": "of a step whose loss or gradient is not finite, or spikes: stop saves and ends the run; skip "
            "leaves the weights as they are; rollback goes back to the last checkpoint of save_steps, and on with the "
            "data after that step"
        },
    )
    threshold: float | None = field(
        default=None,
        validator=optional(and_(gt(0.0), lt(inf))),
        metadata={
            "help": "loss or gradient norm so many deviations above the median of recent steps is a spike; 6 is a "
            "beginning. Unset: only what is not finite is judged"
        },
    )
    window: int | None = field(
        default=None,
        validator=optional(ge(10)),
        metadata={
            "help": "with threshold: recent steps, skipped ones not counted, and judged once there are as many; "
            "unset: 100"
        },
    )
    limit: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "with skip: bad steps in a row; with rollback: times back to one checkpoint; one more stops the "
            "run; unset: 5"
        },
    )

    @property
    def steps_kept(self) -> int:
        """Of how many accepted steps loss and gradient norm are remembered: none unless spikes are judged."""
        return 0 if self.threshold is None else self.window or WINDOW

    @property
    def in_a_row(self) -> int:
        """How often in a row the run goes on past a bad step."""
        return 0 if self.action == "stop" else self.limit or LIMIT


@frozen(kw_only=True)
class EmaOptions:
    """An exponential moving average of the weights, evaluated, exported and saved beside them."""

    decay: float = field(
        default=0.999,
        validator=and_(gt(0.0), lt(1.0)),
        metadata={"help": "after a step, the average is so much of itself and the rest of the new weights"},
    )
    warmup: bool = field(
        default=True,
        metadata={
            "help": "after n averaged steps the decay is at most (1 + n) / (10 + n), so that the start is forgotten"
        },
    )
