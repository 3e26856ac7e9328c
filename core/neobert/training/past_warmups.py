"""Whether warm-ups that were changed would have made another past: compared by what they said at every step done."""

from __future__ import annotations

from collections.abc import Iterable

from neobert.recipe import Recipe
from neobert.recipe.differences import Change
from neobert.warmup import WarmUp, batch_size_warmup, length_warmup
from neobert.wording import counted


def changed_warmups(changes: Iterable[Change], before: Recipe, now: Recipe, steps_done: int) -> dict[str, str]:
    """A line for each changed key of a warm-up that differs at a step already done, by the key.

    Whatever else a warm-up depends on, where it ends, is a key of its own with a past of its own.
    """
    found = {}
    for change in changes:
        name = change.key.removesuffix("_steps").removesuffix("_start")
        if name not in _WARMUPS:
            continue
        old, new = (_WARMUPS[name](recipe) for recipe in (before, now))
        step = _first_difference(old, new, steps_done)
        if step is not None:
            noun = _NOUNS[name]
            had, would_have = counted(old.at(step), noun), f"{new.at(step):,}"
            found[change.key] = f"{change} (step {step}, which is done, had {had}, and would have {would_have})"
    return found


def _first_difference(old: WarmUp, new: WarmUp, steps_done: int) -> int | None:
    """Once both have come to their ends they stay there."""
    last = max(old.steps, new.steps)
    return next((step for step in range(min(steps_done, last + 1)) if old.at(step) != new.at(step)), None)


def micro_batches_of_rank(recipe: Recipe) -> WarmUp:
    """Without a warm-up, one that is over at step 0."""
    full = recipe.trainer.gradient_accumulation_steps
    return batch_size_warmup(recipe.trainer) or WarmUp(full, full, 0)


def _tokens(recipe: Recipe) -> WarmUp:
    full = recipe.dataset.max_seq_length
    return length_warmup(recipe.trainer, full) or WarmUp(full, full, 0)


_WARMUPS = {"trainer.batch_size_warmup": micro_batches_of_rank, "trainer.length_warmup": _tokens}
_NOUNS = {"trainer.batch_size_warmup": "micro-batch", "trainer.length_warmup": "token"}
