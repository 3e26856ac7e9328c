"""Which settings would make a run smaller, and by how much: each estimated as `--check` estimates the run itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from attrs import evolve, frozen

from neobert.recipe import Recipe
from neobert.toml_text import toml_text
from neobert.training.inspect import sized_context
from neobert.training.memory import IN_USE, PeakMemory, estimate_peak
from neobert.training.resume import changes_past

SETTINGS = 3
"""How many are told."""
_LEAST = 0.01
"""The least share of the estimate that is worth telling."""
_SHORTEST = 64


@frozen
class Advice:
    """A change, and what a run with it is estimated to take."""

    changes: Mapping[str, Any]
    """Dotted key -> value; None where the key is to be unset."""
    total: int
    """Bytes, as `total_of` has them."""
    saved: int
    """Bytes less than without it."""

    @property
    def overrides(self) -> str:
        """As a command line has them."""
        return " ".join(
            f"--{key} {'none' if value is None else toml_text(value)}" for key, value in self.changes.items()
        )

    @property
    def resumable(self) -> bool:
        """Whether a run can go on with it; else it is for a new one."""
        return not any(changes_past(key) for key in self.changes)


def total_of(peak: PeakMemory, device: torch.device) -> int:
    """All of an estimate that settings can change: tensors, and the heap's holes around them."""
    return peak.total + (peak.on_the_heap - IN_USE if device.type == "cpu" else 0)


def estimate(recipe: Recipe, vocab_size: int, device: torch.device) -> int | None:
    """Bytes as `total_of` has them; None where parts need values to be gone through."""

    def of(view: Recipe) -> int:
        return total_of(estimate_peak(view, sized_context(view, device, vocab_size)), device)

    try:
        return max(map(of, recipe.views.values()))
    except Exception:  # of a part that reads values, of which there are none here, or refuses the changed recipe
        return None


def advice(recipe: Recipe, vocab_size: int, device: torch.device, total: int) -> list[Advice]:
    """The settings that would help most, the best first, of a recipe that is estimated to take ``total`` bytes."""
    found = []
    for changes in _changes(recipe):
        size = estimate(_changed(recipe, changes), vocab_size, device)
        if size is not None and total - size > _LEAST * total:
            found.append(Advice(changes, size, total - size))
    return sorted(found, key=lambda one: one.total)[:SETTINGS]


def _changes(recipe: Recipe) -> Iterator[dict[str, Any]]:
    """All that might help."""
    trainer = recipe.trainer
    size, micro_batches = trainer.per_device_train_batch_size, trainer.gradient_accumulation_steps
    if not trainer.gradient_checkpointing:
        yield {"trainer.gradient_checkpointing": True}
    elif (trainer.gradient_checkpointing_every or 1) > 1:
        yield {"trainer.gradient_checkpointing_every": 1}
    if trainer.mixed_precision != "bf16":
        yield {"trainer.mixed_precision": "bf16"}
    if size > 1:
        # As many sequences a step as before.
        yield {
            "trainer.per_device_train_batch_size": size // 2,
            "trainer.gradient_accumulation_steps": -(-size * micro_batches // (size // 2)),
        }
    if trainer.per_device_eval_batch_size > 1:
        yield {"trainer.per_device_eval_batch_size": trainer.per_device_eval_batch_size // 2}
    if not recipe.objectives and recipe.dataset.max_seq_length >= 2 * _SHORTEST:
        yield {"dataset.max_seq_length": recipe.dataset.max_seq_length // 2}
    if trainer.ema is not None:
        yield {"trainer.ema": None}


def _changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    tables: dict[str, dict[str, Any]] = {}
    for key, value in changes.items():
        table, _, name = key.partition(".")
        tables.setdefault(table, {})[name] = value
    trainer = evolve(recipe.trainer, **tables.get("trainer", {}))
    dataset = evolve(recipe.dataset, served=evolve(recipe.dataset.served, **tables.get("dataset", {})))
    return evolve(recipe, trainer=trainer, dataset=dataset)
