"""Whether another number of processes would have made another past: it would where steps had other micro-batches."""

from __future__ import annotations

from collections.abc import Mapping

from neobert.recipe import Recipe
from neobert.training.past_warmups import micro_batches_of_rank
from neobert.wording import counted

KEY = "trainer.gradient_accumulation_steps"
WARMUPS = ("trainer.batch_size_warmup_steps", "trainer.batch_size_warmup_start")


def changed_ranks(
    past: Mapping[str, str], old: tuple[Recipe, int], new: tuple[Recipe, int], done: int
) -> dict[str, str]:
    """``past``, a line for each key that changes it, as it is with these numbers of processes.

    ``old`` and ``new``: a recipe, and how many processes run it. Where the steps done had as many micro-batches as they
    would have now, keys that say how many each process has change nothing.
    """
    if old[1] == new[1]:
        return dict(past)
    rest = {key: line for key, line in past.items() if key not in (KEY, *WARMUPS)}
    step = _first_difference(old, new, done)
    if step is None:
        return rest
    had, would_have = _micro_batches(*old, step), _micro_batches(*new, step)
    better = f"; {KEY} = {had // new[1]} keeps it" if had % new[1] == 0 else ""
    line = (
        f"{counted(old[1], 'process')} -> {new[1]} with {KEY} = {new[0].trainer.gradient_accumulation_steps}: a step "
        f"had {counted(had, 'micro-batch')} on all of them together, and would have {would_have}{better}"
    )
    return {**rest, KEY: line}


def other_ranks(old: int, new: int) -> str:
    """What there is to know where a run goes on with another number of processes."""
    return (
        f"the checkpoint was made by {counted(old, 'process')}, and this run has {new}: the data goes on in the same "
        "order; sums take another one, so the bits differ; a loss that compares over all ranks has other candidates"
    )


def _first_difference(old: tuple[Recipe, int], new: tuple[Recipe, int], done: int) -> int | None:
    """Once all warm-ups are over, every step is like the last one looked at."""
    last = max(micro_batches_of_rank(recipe).steps for recipe, _ in (old, new))
    steps = range(min(max(done, 1), last + 1))
    return next((step for step in steps if _micro_batches(*old, step) != _micro_batches(*new, step)), None)


def _micro_batches(recipe: Recipe, ranks: int, step: int) -> int:
    return micro_batches_of_rank(recipe).at(step) * ranks
