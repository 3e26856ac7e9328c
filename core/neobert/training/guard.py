"""The guard: whether a step's loss and gradient norm are finite, and such as recent steps make likely.

A value spikes where it is more than ``threshold`` deviations above the median of the last ``window`` accepted steps, a
deviation being 1.4826 times the median distance from that median, which is the standard deviation of a normal
distribution. Medians, because what was accepted of one spike must not widen the range for the next. One-sided: what
falls is no spike. The gradient norm is judged by its logarithm, since norms differ by factors and have a long upper
tail; the loss, which may be negative, as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import torch
from attrs import asdict, define, field, frozen
from torch import Tensor

from neobert.interfaces import LossOutput
from neobert.recipe.stability import GuardOptions

NORMAL = 1.4826
"""Standard deviations of a normal distribution in its median distance from the median."""
LEAST = 0.01
"""The least deviation, as a share of the value: where recent steps are all alike, a trifle is no spike."""

LARGEST = 700.0
"""The logarithm of the largest limit: beyond, there is no float."""


@frozen
class Reading:
    """What the host has to know of a step before the weights change."""

    norm: float
    """Of the gradient, before clipping."""
    loss: float
    """The mean over the step's items."""
    count: float
    """Of its items. Without any there is nothing to judge, and nothing to remember."""


@frozen
class Range:
    """Where values of recent steps lie."""

    middle: float
    most: float


@define
class Recent:
    """The last accepted steps, as many as the recipe's window; none unless spikes are judged."""

    losses: list[float] = field(factory=list)
    norms: list[float] = field(factory=list)

    def accept(self, step: Reading, kept: int) -> None:
        """Remembers a step, and ``kept`` in all."""
        losses = [*self.losses, *([step.loss] if step.count else [])]
        norms = [*self.norms, *([step.norm] if step.count and step.norm > 0 else [])]
        self.losses, self.norms = (values[-kept:] if kept else [] for values in (losses, norms))


@define
class GuardState:
    """What the guard remembers of a run. Saved with every checkpoint."""

    recent: dict[str, Recent] = field(factory=dict)
    """Of each objective by its name, since what is usual for one is a spike for another; ``""`` where there is one."""
    in_a_row: int = 0
    """Steps just before that were skipped."""
    skipped: list[int] = field(factory=list)
    """The number of each step that was skipped."""
    rollbacks: list[dict[str, Any]] = field(factory=list)
    """Each time that the run went back: ``step`` was bad, ``to`` is where it went on, and ``reason``."""

    def fault(self, step: Reading, options: GuardOptions, objective: str = "") -> str | None:
        """What is wrong with a step, in words; None where nothing is."""
        if not math.isfinite(step.norm):
            return f"the gradient is not finite (norm {step.norm}, loss {step.loss:.6g})"
        if not math.isfinite(step.loss):
            return f"the loss is not finite ({step.loss})"
        if options.threshold is None or not step.count:
            return None
        recent = self.recent.get(objective, Recent())
        losses, norms = range_of_losses(recent.losses, options), range_of_norms(recent.norms, options)
        if losses is not None and step.loss > losses.most:
            return _spike("the loss", step.loss, losses, options)
        if norms is not None and step.norm > norms.most:
            return _spike("the gradient norm", step.norm, norms, options)
        return None

    def accept(self, step: Reading, options: GuardOptions, objective: str = "") -> None:
        """Remembers a step that changed the weights."""
        self.in_a_row = 0
        self.recent.setdefault(objective, Recent()).accept(step, options.steps_kept)

    def times_back_to(self, step: int) -> int:
        """How often the run has gone back to a step."""
        return sum(rollback["to"] == step for rollback in self.rollbacks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GuardState:
        """What `to_json` gave; of an empty mapping, what a run begins with."""
        return cls(
            recent={
                name: Recent([float(loss) for loss in said["losses"]], [float(norm) for norm in said["norms"]])
                for name, said in value.get("recent", {}).items()
            },
            in_a_row=int(value.get("in_a_row", 0)),
            skipped=[int(step) for step in value.get("skipped", ())],
            rollbacks=[dict(rollback) for rollback in value.get("rollbacks", ())],
        )


def read_step(norm: Tensor, outputs: Sequence[LossOutput], count: Tensor) -> Reading:
    """All of it in one transfer, the only one of a step. ``count``: the items of all outputs."""
    total = torch.stack([output.total.to(norm) for output in outputs]).sum()
    items = count.to(norm)
    return Reading(*torch.stack((norm, total / items.clamp(min=1), items)).tolist())


def range_of_losses(losses: Sequence[float], options: GuardOptions) -> Range | None:
    """None while there are fewer steps than a window, or where no spike is judged."""
    if options.threshold is None or len(losses) < options.steps_kept:
        return None
    middle, deviation = _spread(losses[-options.steps_kept :])
    return Range(middle, middle + options.threshold * max(deviation, LEAST * abs(middle)))


def range_of_norms(norms: Sequence[float], options: GuardOptions) -> Range | None:
    """The same of gradient norms, which are positive, by their logarithms."""
    if options.threshold is None or len(norms) < options.steps_kept:
        return None
    middle, deviation = _spread([math.log(norm) for norm in norms[-options.steps_kept :]])
    most = middle + options.threshold * max(deviation, math.log1p(LEAST))
    return Range(math.exp(middle), math.exp(min(most, LARGEST)))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """The median and the deviation from it."""
    middle = median(values)
    return middle, NORMAL * median(abs(value - middle) for value in values)


def _spike(what: str, value: float, recent: Range, options: GuardOptions) -> str:
    return (
        f"{what} spikes: {value:.6g}, where {recent.most:.6g} is the most that {options.steps_kept} steps before it "
        f"make likely (their median is {recent.middle:.6g})"
    )
