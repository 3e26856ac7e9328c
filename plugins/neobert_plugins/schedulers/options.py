"""Options of the schedules, and how steps and percentages become phases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from attrs import field, frozen
from attrs.validators import and_, ge, le, optional

from neobert_plugins.schedulers import changes
from neobert_plugins.schedulers.schedule import (
    WarmupThenDecay,
    WarmupThenInverseSquareRoot,
    cosine_fall,
    linear_fall,
    sqrt_fall,
)

if TYPE_CHECKING:
    from neobert import BuildContext

_WSD_DECAY_PERCENT = 20.0
_TIMESCALE = 10_000
_SHAPES = {"linear": linear_fall, "cosine": cosine_fall, "1-sqrt": sqrt_fall}
_RATIO = and_(ge(0.0), le(1.0))
_PERCENT = and_(ge(0.0), le(100.0))


def _phase(steps: int | None, percent: float | None, max_steps: int) -> int | None:
    """A phase's steps: the percentage of ``max_steps`` (rounded down) if there is one, else the steps."""
    if percent is None:
        return steps
    # The tiny amount keeps 29 % of 100 from becoming 28 through binary rounding.
    return math.floor(max_steps * percent / 100.0 + 1e-9)


def _fraction_for_percent(options: Any) -> list[str]:
    """Percentages that read like fractions: 0.06 means 0.06 %, which hardly anyone means."""
    return [
        f"{key} = {value} is {value} percent of max_steps; "
        f"for a fraction of {value} write {value * 100:g}, for so short a phase give steps"
        for key in ("warmup_percent", "decay_percent")
        if (value := getattr(options, key, None)) is not None and 0.0 < value < 1.0
    ]


@frozen(kw_only=True)
class _Warmup:
    warmup_steps: int = field(
        default=0,
        validator=ge(0),
        metadata={"help": "updates over which the learning rate rises to its base value"},
    )
    warmup_percent: float | None = field(
        default=None,
        validator=optional(_PERCENT),
        metadata={"help": "the same in percent of max_steps; wins if set"},
    )

    def warmup(self, max_steps: int) -> int:
        """Updates of the warm-up in a run of ``max_steps``."""
        return _phase(self.warmup_steps, self.warmup_percent, max_steps) or 0

    def decay(self, max_steps: int) -> int:
        """Updates of the fall in a run of ``max_steps``: none here."""
        return 0

    def check(self, recipe: Any) -> list[str]:
        """Phases that do not fit into the run."""
        max_steps = recipe.trainer.max_steps
        problems = _fraction_for_percent(self)
        warmup, decay = self.warmup(max_steps), self.decay(max_steps)
        if warmup + decay > max_steps:
            problems.append(
                f"warm-up of {warmup} and decay of {decay} steps are longer than the run: "
                f"together {warmup + decay}, and trainer.max_steps is {max_steps}"
            )
        return problems

    def explain_change(self, before: Any, steps_done: int, max_steps: tuple[int, int]) -> list[str]:
        """Why steps already done would have another rate than ``before``, options of this class, gave them, and what
        to do; ``max_steps`` is (before, now). Empty where they would have the same."""
        if changes.same_past(before, self, steps_done, max_steps):
            return []
        return self._explained(before, steps_done, max_steps)

    def _explained(self, before: Any, steps_done: int, max_steps: tuple[int, int]) -> list[str]:
        return changes.of_warmup(before, self, steps_done, max_steps)


@frozen(kw_only=True)
class _WarmupAndDecay(_Warmup):
    decay_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "updates over which it falls; unset: all the rest"},
    )
    decay_percent: float | None = field(
        default=None,
        validator=optional(_PERCENT),
        metadata={"help": "the same in percent of max_steps; wins if set"},
    )
    final_lr_ratio: float = field(
        default=0.1, validator=_RATIO, metadata={"help": "factor on the base learning rate after the fall"}
    )

    def decay(self, max_steps: int) -> int:
        """Updates of the fall in a run of ``max_steps``."""
        steps = _phase(self.decay_steps, self.decay_percent, max_steps)
        return max(0, max_steps - self.warmup(max_steps)) if steps is None else steps

    def _explained(self, before: Any, steps_done: int, max_steps: tuple[int, int]) -> list[str]:
        """The same, and why a fall over the whole run is another in a longer one."""
        found = super()._explained(before, steps_done, max_steps)
        return [*found, *changes.of_whole_fall(before, self, steps_done, max_steps)]


@frozen(kw_only=True)
class Cosine(_WarmupAndDecay):
    """Linear warm-up, then half a cosine wave down to final_lr_ratio."""

    def build(self, context: BuildContext) -> WarmupThenDecay:
        """The schedule; the fall begins when the warm-up ends."""
        return _falling_at_once(self, context.max_steps, cosine_fall)


@frozen(kw_only=True)
class Linear(_WarmupAndDecay):
    """Linear warm-up, then a straight line down to final_lr_ratio."""

    def build(self, context: BuildContext) -> WarmupThenDecay:
        """The schedule; the fall begins when the warm-up ends."""
        return _falling_at_once(self, context.max_steps, linear_fall)


@frozen(kw_only=True)
class Constant(_Warmup):
    """Linear warm-up, then the base learning rate to the end."""

    def build(self, context: BuildContext) -> WarmupThenDecay:
        """The schedule."""
        return WarmupThenDecay(warmup_steps=self.warmup(context.max_steps))


@frozen(kw_only=True)
class WarmupStableDecay(_WarmupAndDecay):
    """Linear warm-up, the base learning rate, and a fall at the end (Hu et al. 2024): a run can be extended."""

    decay_steps: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": f"last updates, over which it falls; unset: {_WSD_DECAY_PERCENT:g} percent of max_steps"},
    )
    decay_shape: Literal["linear", "cosine", "1-sqrt"] = field(
        default="linear",
        metadata={"help": "a straight line, half a cosine wave, or 1 - sqrt(share done), steep at first"},
    )

    def decay(self, max_steps: int) -> int:
        """Updates of the fall at the end of a run of ``max_steps``."""
        steps = _phase(self.decay_steps, self.decay_percent, max_steps)
        return (_phase(None, _WSD_DECAY_PERCENT, max_steps) or 0) if steps is None else steps

    def build(self, context: BuildContext) -> WarmupThenDecay:
        """The schedule; the fall ends with the run."""
        decay = self.decay(context.max_steps)
        return WarmupThenDecay(
            warmup_steps=self.warmup(context.max_steps),
            decay_start=context.max_steps - decay,
            decay_steps=decay,
            final_lr_ratio=self.final_lr_ratio,
            curve=_SHAPES[self.decay_shape],
        )

    def _explained(self, before: Any, steps_done: int, max_steps: tuple[int, int]) -> list[str]:
        """Why the fall, old or new, lies in what is done already, and what to do."""
        found = changes.of_warmup(before, self, steps_done, max_steps)
        return [*found, *changes.of_last_fall(before, self, steps_done, max_steps)]


@frozen(kw_only=True)
class InverseSquareRoot(_Warmup):
    """Linear warm-up, then one over the square root of the step (Vaswani et al. 2017): a run can be extended."""

    timescale: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "updates after the warm-up until the factor is 0.71; three times as many: 0.5. "
            f"Unset: as many as the warm-up has, {_TIMESCALE:,} without one"
        },
    )

    def build(self, context: BuildContext) -> WarmupThenInverseSquareRoot:
        """The schedule; it does not depend on the length of the run, but for a warm-up in percent."""
        warmup = self.warmup(context.max_steps)
        return WarmupThenInverseSquareRoot(warmup_steps=warmup, timescale=self.timescale or warmup or _TIMESCALE)


def _falling_at_once(options: _WarmupAndDecay, max_steps: int, curve: Any) -> WarmupThenDecay:
    warmup = options.warmup(max_steps)
    return WarmupThenDecay(
        warmup_steps=warmup,
        decay_start=warmup,
        decay_steps=options.decay(max_steps),
        final_lr_ratio=options.final_lr_ratio,
        curve=curve,
    )
