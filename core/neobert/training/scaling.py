"""What a run on several processes takes and sends, by its parameters alone: before a cluster is reserved.

Counted, not measured: `docs/scaling.md` has the table that this module prints, and tests compare it with small runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from attrs import frozen

FP32 = 4
"""Bytes of a weight, a gradient, and each of the optimizer's moments: masters are in float32, autocast or not."""


@frozen(kw_only=True)
class Shape:
    """Where a model's trained parameters are."""

    blocks: int
    block: int
    """Parameters of each of the blocks."""
    outside: int
    """Of embedding, head, and whatever else is in no block."""

    @property
    def parameters(self) -> int:
        return self.blocks * self.block + self.outside


SHAPES: Mapping[str, Shape] = {
    "250 M": Shape(blocks=28, block=7_080_000, outside=51_760_000),
    "1,000 M": Shape(blocks=32, block=28_300_000, outside=94_400_000),
}
"""Blocks of width 768 and 1,536, their vocabulary's 30,000 rows twice: an untied head."""


@frozen(kw_only=True)
class Costs:
    """Of one process, in bytes. What a step computes in passing (activations) is beside it, as with one process."""

    weights: int
    gradients: int
    optimizer_state: int
    average: int
    on_the_way: int
    """At most: copies of gradients that are being summed, and weights that are together."""
    sent: int
    """In a step, to the others; as much is received."""

    @property
    def memory(self) -> int:
        return self.weights + self.gradients + self.optimizer_state + self.average + self.on_the_way


def costs(
    shape: Shape,
    ranks: int,
    strategy: Literal["ddp", "fsdp"] = "ddp",
    *,
    micro_batches: int = 1,
    moments: int = 2,
    average: bool = False,
) -> Costs:
    """Of each of ``ranks`` processes, with ``micro_batches`` of each in a step.

    ``moments``: how many the optimizer keeps of each parameter: 2 for adamw.
    With ``ddp`` (`neobert.training.gradient_sums`) each has everything, and a step sums the gradients once: each sends
    2 (n - 1) / n times their size, a share to each of the others and back. With ``fsdp`` (`neobert.training.sharding`)
    each has a share, and a micro-batch brings the weights together forward and backward and the gradients to where
    they are kept: each sends 3 (n - 1) / n times their size.
    """
    whole, sharded = FP32 * shape.parameters, strategy == "fsdp" and ranks > 1
    own = -(-whole // ranks) if sharded else whole
    times = 3 * micro_batches if sharded else 2
    return Costs(
        weights=own,
        gradients=own,
        optimizer_state=moments * own,
        average=own if average else 0,
        on_the_way=_together(shape) if sharded else whole if ranks > 1 else 0,
        sent=times * (ranks - 1) * whole // ranks,
    )


def _together(shape: Shape) -> int:
    """Bytes of what FSDP2 has together at once, at most, in the backward pass: of a block and the next one the weights,
    of the first its gradients, as they come and as they go, while what is outside waits for its own; or of what is
    outside the same, at the pass's end."""
    block, outside = FP32 * shape.block, FP32 * shape.outside
    return max(4 * block + 2 * outside, 4 * outside + block)


def table(ranks: tuple[int, ...] = (1, 2, 8, 64)) -> str:
    """Markdown: a row for each size, number of processes and strategy, in GiB."""
    head = (
        *("parameters", "processes", "strategy", "weights", "gradients", "moments", "on the way", "memory"),
        "sent a step",
    )
    rows = [_row(name, shape, count, strategy) for name, shape in SHAPES.items() for count, strategy in _runs(ranks)]
    lines = [head, ("---:",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _runs(ranks: tuple[int, ...]) -> list[tuple[int, Literal["ddp", "fsdp"]]]:
    """One process has all, whatever the strategy."""
    strategies: tuple[Literal["ddp", "fsdp"], ...] = ("ddp", "fsdp")
    return [(count, strategy) for count in ranks for strategy in strategies[: None if count > 1 else 1]]


def _row(name: str, shape: Shape, ranks: int, strategy: Literal["ddp", "fsdp"]) -> tuple[str, ...]:
    found = costs(shape, ranks, strategy)
    values = (
        *(found.weights, found.gradients, found.optimizer_state, found.on_the_way, found.memory),
        found.sent,
    )
    return (name, str(ranks), strategy if ranks > 1 else "either", *(f"{value / 2**30:.2f}" for value in values))


if __name__ == "__main__":
    print(table())
