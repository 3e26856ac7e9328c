"""What a schedule promises."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

from neobert.testing.context import as_options, build, late_context
from neobert.testing.promises import require

if TYPE_CHECKING:
    from neobert.interfaces import Schedule


def check_scheduler(options: Any, *, max_steps: int = 1000) -> None:
    """Evaluates the schedule at every step of a run. Raises `AssertionError` for a broken promise."""
    options = as_options(options)
    schedule: Schedule = build("scheduler", options, late_context(max_steps=max_steps))
    steps = list(range(max_steps + 1))
    factors = [schedule(step) for step in steps]
    for step, factor in zip(steps, factors, strict=True):
        good = isinstance(factor, int | float) and math.isfinite(factor) and factor >= 0.0
        require(good, "a factor is a finite number of at least 0", given=f"step {step}", found=repr(factor))
    require(max(factors[:-1]) > 0.0, "some update has a learning rate over 0", given=f"{max_steps} steps")
    shuffled = random.Random(0).sample(steps, len(steps))
    again = {step: schedule(step) for step in shuffled}
    promise = "a schedule is a pure function of the step: a resumed run asks for any step first"
    _require_same(factors, [again[step] for step in steps], promise)
    fresh: Schedule = build("scheduler", options, late_context(max_steps=max_steps, seed=1))
    _require_same(factors, [fresh(step) for step in steps], f"{promise}, and it does not depend on the seed")


def _require_same(factors: list[float], found: list[float], promise: str) -> None:
    changed = [step for step, (a, b) in enumerate(zip(factors, found, strict=True)) if a != b]
    require(not changed, promise, given=f"steps {changed[:5]}", found=[found[step] for step in changed[:5]])
