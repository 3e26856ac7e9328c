"""The memory estimate: what is counted, and that it follows the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attrs import evolve

from neobert.recipe import load_recipe
from neobert.training.data_parts import first_context
from neobert.training.devices import Placement
from neobert.training.inspect import describe
from neobert.training.memory import MemoryCounter, PeakMemory, estimate_peak

VOCABULARY = 384


def estimate(*overrides: str, vocabulary: int = VOCABULARY) -> PeakMemory:
    recipe = load_recipe("recipe.toml", overrides)
    context = first_context(recipe, Placement(torch.device("cpu"), 0, 1, 1), Path("run"))
    return estimate_peak(recipe, evolve(context, vocab_size=vocabulary))


def test_storages_are_counted_once_and_while_they_live() -> None:
    with MemoryCounter() as counter:
        a = torch.zeros(1000)
        view = a.view(10, 100)
        assert counter.bytes == 4000
        b = view + 1
        assert (counter.bytes, counter.peak) == (8000, 8000)
        del b
        assert (counter.bytes, counter.peak) == (4000, 8000)
        del a
        assert counter.bytes == 4000
        del view
        assert counter.bytes == 0


def test_weights_gradients_and_state_are_exact(workdir: Path) -> None:
    adamw = estimate("--optimizer=adamw")
    body = adamw.weights - VOCABULARY * 32 * 4
    assert estimate("--optimizer=adamw", vocabulary=2 * VOCABULARY).weights == body + 2 * VOCABULARY * 32 * 4
    assert adamw.gradients == adamw.weights
    # Two moments, and a count of steps for each tensor.
    assert adamw.optimizer_state == pytest.approx(2 * adamw.weights, rel=0.01)
    # qkv, wo, w12 and w3 of two blocks: one momentum, and no count.
    matrices = 2 * (32 * 96 + 32 * 32 + 32 * 96 + 48 * 32) * 4
    assert adamw.optimizer_state - estimate().optimizer_state == matrices + 2 * 4 * 4


def test_an_average_is_one_more_copy_of_the_weights(workdir: Path) -> None:
    plain, averaged = estimate(), estimate("--trainer.ema.decay=0.99")
    assert (plain.average, averaged.average) == (0, plain.weights)
    assert averaged.passing == plain.passing
    said = dict(describe(load_recipe("recipe.toml", ["--trainer.ema.decay=0.99"])))["estimated peak memory"]
    assert "averaged weights" in said


def test_what_passes_follows_the_recipe(workdir: Path) -> None:
    plain = estimate().passing
    assert estimate("--trainer.gradient_checkpointing=true").passing < plain
    assert estimate("--trainer.per_device_train_batch_size=8").passing > 1.5 * plain
    assert estimate("--model.attn_backend=eager", "--trainer.per_device_train_batch_size=1").passing > 0


def test_check_says_one_number_and_its_parts(workdir: Path) -> None:
    said = dict(describe(load_recipe("recipe.toml")))["estimated peak memory"]
    assert said.count("GiB") == 7
    assert "for a vocabulary of 384, its largest" in said


def test_an_estimate_refuses_no_recipe(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> PeakMemory:
        msg = "a part wants values"
        raise RuntimeError(msg)

    monkeypatch.setattr("neobert.training.memory.estimate_peak", fails)
    said = dict(describe(load_recipe("recipe.toml")))["estimated peak memory"]
    assert said == "unknown: RuntimeError: a part wants values"
