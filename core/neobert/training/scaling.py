"""What a run on several processes takes and sends, by its parameters alone: before a cluster is reserved.

Counted, not measured: `docs/scaling.md` has the table that this module prints, and a test compares it with a small run.
"""

from __future__ import annotations

from attrs import frozen

FP32 = 4
"""Bytes of a weight, a gradient, and each of the optimizer's moments: masters are in float32, autocast or not."""


@frozen(kw_only=True)
class Costs:
    """Of one process, in bytes. What a step computes in passing (activations) is beside it, as with one process."""

    weights: int
    gradients: int
    optimizer_state: int
    average: int
    on_the_way: int
    """Copies of gradients that are being summed."""
    sent: int
    """In a step, to the others; as much is received."""

    @property
    def memory(self) -> int:
        return self.weights + self.gradients + self.optimizer_state + self.average + self.on_the_way


def costs(parameters: int, ranks: int, *, moments: int = 2, average: bool = False) -> Costs:
    """Of each of ``ranks`` processes with all weights (`neobert.training.gradient_sums`).

    ``parameters``: trained ones. ``moments``: how many the optimizer keeps for each: 2 for adamw.
    A sum over n processes has each send 2 (n - 1) / n times its size: a share of it to each of the others, and back.
    """
    whole = FP32 * parameters
    return Costs(
        weights=whole,
        gradients=whole,
        optimizer_state=moments * whole,
        average=whole if average else 0,
        on_the_way=whole if ranks > 1 else 0,
        sent=2 * (ranks - 1) * whole // ranks,
    )


def table(sizes: tuple[int, ...] = (250_000_000, 1_000_000_000), ranks: tuple[int, ...] = (1, 2, 8, 64)) -> str:
    """Markdown: a row for each size and number of processes, in GiB."""
    head = ("parameters", "processes", "weights", "gradients", "moments", "on the way", "memory", "sent a step")
    rows = [
        (
            f"{size / 1e6:,.0f} M",
            str(count),
            *(
                f"{value / 2**30:.2f}"
                for value in (
                    found.weights,
                    found.gradients,
                    found.optimizer_state,
                    found.on_the_way,
                    found.memory,
                    found.sent,
                )
            ),
        )
        for size in sizes
        for count in ranks
        for found in (costs(size, count),)
    ]
    lines = [head, ("---:",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    print(table())
