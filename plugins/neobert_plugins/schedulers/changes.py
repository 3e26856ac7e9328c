"""What a longer or shorter run would change of a schedule's past, in words that say how to mend it.

Each function gets the options that a checkpoint was made with, those of now, the steps done, and ``max_steps`` (before,
now); it returns a sentence for what differs in steps already done, and nothing where they agree.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neobert_plugins.schedulers.options import WarmupStableDecay, _Warmup, _WarmupAndDecay

MaxSteps = tuple[int, int]


def same_past(before: Any, now: Any, steps_done: int, max_steps: MaxSteps) -> bool:
    """Whether every step done would have had the same factor: a rise of one step changes nothing, for one."""
    lengths = [SimpleNamespace(max_steps=length) for length in max_steps]
    old, new = before.build(lengths[0]), now.build(lengths[1])
    return all(old(step) == new(step) for step in range(steps_done))


def of_warmup(before: _Warmup, now: _Warmup, steps_done: int, max_steps: MaxSteps) -> list[str]:
    """A warm-up of another length: mostly a percentage of another ``max_steps``."""
    old, new = before.warmup(max_steps[0]), now.warmup(max_steps[1])
    if old == new or steps_done == 0:
        return []
    if now.warmup_percent is None:
        return [f"the warm-up had {old} steps, and would have {new}: set scheduler.warmup_steps = {old}"]
    return [
        f"scheduler.warmup_percent = {now.warmup_percent:g} was {old} steps of {max_steps[0]}, and is {new} of "
        f"{max_steps[1]}: write the steps instead of the percentage, "
        f"--scheduler.warmup_percent none --scheduler.warmup_steps {old}"
    ]


def of_whole_fall(before: _WarmupAndDecay, now: _WarmupAndDecay, steps_done: int, max_steps: MaxSteps) -> list[str]:
    """A fall that begins after the warm-up, and is as long as the run or a percentage of it."""
    start, old, new = before.warmup(max_steps[0]), before.decay(max_steps[0]), now.decay(max_steps[1])
    if old == new or steps_done <= start:
        return []
    percentage = " --scheduler.decay_percent none" if now.decay_percent is not None else ""
    return [
        f"the fall from step {start} on took {old} steps, and would take {new}: every step of it would have another "
        f"rate. Keep it, and go on at its last rate from step {start + old} on:{percentage} "
        f"--scheduler.decay_steps {old}. (A run to be extended at a high rate begins with wsd, constant or "
        "inverse_sqrt.)"
    ]


def of_last_fall(before: WarmupStableDecay, now: WarmupStableDecay, steps_done: int, max_steps: MaxSteps) -> list[str]:
    """A fall at the end of the run, which moves with ``max_steps``. Its first step still has the full rate."""
    old, new = (max_steps[0] - before.decay(max_steps[0]), max_steps[1] - now.decay(max_steps[1]))
    if _fall(before, max_steps[0]) == _fall(now, max_steps[1]):
        return []
    if steps_done > old + 1:
        return [
            f"the fall began at step {old} of {max_steps[0]}, and {steps_done} steps are done; with trainer.max_steps "
            f"= {max_steps[1]} it would begin at step {new}\n"
            f"a run is extended from before its fall: resume from a checkpoint of step {old} or before"
        ]
    if steps_done > new + 1:
        return [
            f"the fall would begin at step {new} of {max_steps[1]}, and {steps_done} steps are done at the full rate: "
            f"raise trainer.max_steps, or let it fall later: --scheduler.decay_steps {max_steps[1] - steps_done + 1}"
        ]
    return []


def _fall(options: WarmupStableDecay, max_steps: int) -> tuple[int, int, float, str]:
    decay = options.decay(max_steps)
    return max_steps - decay, decay, options.final_lr_ratio, options.decay_shape
