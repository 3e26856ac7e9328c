"""Recomputed blocks: the same gradients, bit for bit, in less memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor

from neobert.recipe import load_recipe
from neobert.training.assemble import assemble
from neobert.training.devices import place
from neobert.training.memory import MemoryCounter

ON = "--trainer.gradient_checkpointing=true"
EVERY = "--trainer.gradient_checkpointing_every="


def gradients(workdir: Path, *overrides: str) -> tuple[dict[str, Tensor], int]:
    """Of one micro-batch, dropout included, and the most bytes that its forward and backward pass made."""
    recipe = load_recipe("recipe.toml", ["--model.num_hidden_layers=4", *overrides])
    parts = assemble(recipe, place(recipe.trainer), workdir / "run")
    micro = next(parts.training_data.steps(parts.training_data.start(), 0)).micro_batches[0]
    torch.manual_seed(micro.seed)
    with MemoryCounter() as counter:
        parts.objective(micro.batch).total.backward()
    return {name: p.grad for name, p in parts.objective.named_parameters() if p.grad is not None}, counter.peak


@pytest.mark.parametrize("every", ["1", "2", "3", "100"])
def test_gradients_are_equal_bit_for_bit(workdir: Path, every: str) -> None:
    plain, _ = gradients(workdir)
    got, _ = gradients(workdir, ON, f"{EVERY}{every}")
    assert got.keys() == plain.keys()
    for name, gradient in plain.items():
        assert torch.equal(got[name], gradient), name


def test_the_more_blocks_the_less_memory(workdir: Path) -> None:
    peaks = [gradients(workdir, *said)[1] for said in ((ON,), (ON, f"{EVERY}2"), ())]
    assert all(less < more for less, more in pairwise(peaks))
