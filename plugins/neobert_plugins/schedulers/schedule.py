"""The shapes behind every schedule: rise, hold, fall, hold; and a rise with a fall that has no end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable


@frozen(kw_only=True)
class WarmupThenDecay:
    """``schedule(step)``: the factor on each base learning rate; ``step`` is the number of updates already
    done.

    Warm-up is ``(step + 1) / warmup_steps``, so that the first update already moves the weights and the last
    one of the warm-up has the factor 1. (``transformers.get_*_schedule_with_warmup`` is one step behind while
    it warms up: its first update has the factor 0. After the warm-up the two agree.) The factor stays 1 until
    ``decay_start``, falls to ``final_lr_ratio`` over ``decay_steps``, and stays there.
    """

    warmup_steps: int = 0
    decay_start: int = 0
    decay_steps: int = 0
    final_lr_ratio: float = 0.0
    curve: Callable[[float], float] | None = None
    """From the share of the decay that is done, in [0, 1), to the share of the fall that is left, in (0, 1].
    None: it never falls."""

    def __call__(self, step: int) -> float:
        if is_rising(step, self.warmup_steps):
            return (step + 1) / self.warmup_steps
        if self.curve is None or step < self.decay_start:
            return 1.0
        done = step - self.decay_start
        if done >= self.decay_steps:
            return self.final_lr_ratio
        left = self.curve(done / self.decay_steps)
        return self.final_lr_ratio + (1.0 - self.final_lr_ratio) * left


@frozen(kw_only=True)
class WarmupThenInverseSquareRoot:
    """``schedule(step)``: the same warm-up, then ``sqrt(timescale / (timescale + steps since the warm-up))``.

    It falls for ever and knows no end, so a run of any length has the same beginning. With the warm-up's length as
    the timescale it is ``sqrt(warmup_steps / step)``, as in Vaswani et al. 2017 (arXiv:1706.03762).
    """

    warmup_steps: int = 0
    timescale: int
    """At least 1: after so many steps the factor is 0.71, after three times as many 0.5."""

    def __call__(self, step: int) -> float:
        if is_rising(step, self.warmup_steps):
            return (step + 1) / self.warmup_steps
        return math.sqrt(self.timescale / (self.timescale + step - self.warmup_steps))


def is_rising(step: int, warmup_steps: int) -> bool:
    """Whether a step belongs to the warm-up. Raises ValueError for one below 0."""
    if step < 0:
        msg = f"a step is the number of updates already done, at least 0; got {step}"
        raise ValueError(msg)
    return step < warmup_steps


def cosine_fall(done: float) -> float:
    """Half a cosine wave (Loshchilov & Hutter 2017, without restarts)."""
    return 0.5 * (1.0 + math.cos(math.pi * done))


def linear_fall(done: float) -> float:
    """A straight line."""
    return 1.0 - done


def sqrt_fall(done: float) -> float:
    """1 - sqrt: steep at first, flat at the end (Hägele et al. 2024, arXiv:2405.18392)."""
    return 1.0 - math.sqrt(done)
