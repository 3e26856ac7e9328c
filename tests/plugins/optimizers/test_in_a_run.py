"""Optimizers in whole runs: going on bit for bit, recomputed and compiled blocks, skipped steps, the estimate."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from neobert.errors import RecipeError
from neobert.recipe import load_recipe
from neobert.training.assemble import Parts, assemble
from neobert.training.devices import place
from neobert.training.inspect import describe
from neobert.training.loop import Position, update
from neobert.training.meter import Meter

Run = Callable[..., tuple[int, str]]
CLIPPED = '{name = "muon", ns_dtype = "float32", clip_attention_logits = 0.02}'
"""Every head of the tiny model is over this at each step."""


def _state(run: str, step: int = 6) -> bytes:
    return Path(run, "checkpoints", str(step), "state.safetensors").read_bytes()


@pytest.mark.parametrize("optimizer", ["stable_adamw", "adam", CLIPPED, '{name = "muon", split_fused = false}'])
def test_any_optimizer_goes_on_bit_for_bit(go: Run, optimizer: str) -> None:
    key = f"--optimizer={optimizer}"
    go(key, "--trainer.output_dir=whole")
    go(key, "--trainer.max_steps=2")
    for until in (3, 6):
        go(key, f"--trainer.max_steps={until}", "--trainer.resume_from_checkpoint=latest")
    assert _state("run") == _state("whole")


def test_clipping_changes_the_run(go: Run) -> None:
    go("--trainer.output_dir=plain")
    go(f"--optimizer={CLIPPED}", "--trainer.output_dir=clipped")
    assert _state("plain") != _state("clipped")


def test_recomputed_blocks_are_clipped_the_same(go: Run) -> None:
    go(f"--optimizer={CLIPPED}", "--trainer.output_dir=plain")
    go(f"--optimizer={CLIPPED}", "--trainer.gradient_checkpointing=true")
    assert _state("run") == _state("plain")


def _trained(workdir: Path, *overrides: str, steps: int = 4) -> Parts:
    recipe = load_recipe("recipe.toml", [f"--optimizer={CLIPPED}", "--model.dropout_prob=0.0", *overrides])
    parts = assemble(recipe, place(recipe.trainer), workdir / "run")
    position = Position(step=0, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))
    for data in parts.training_data.steps(position.cursor, 0):
        update(parts, data, position, recipe.trainer)
        position.step += 1
        if position.step == steps:
            return parts
    raise AssertionError


def test_compiled_blocks_are_clipped_too_and_compiled_no_oftener(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch._dynamo.reset()
    compiled = ("--trainer.torch_compile=true", "--trainer.torch_compile_backend=eager", "--trainer.cpu_matmul=torch")
    with caplog.at_level(logging.WARNING, "neobert"):
        found = _projections(_trained(workdir, *compiled))
    assert not [line for line in caplog.messages if "compiled" in line]
    plain = _projections(_trained(workdir, "--trainer.cpu_matmul=torch"))
    unclipped = _projections(_trained(workdir, "--trainer.cpu_matmul=torch", "--optimizer.clip_attention_logits=9"))
    for name, weight in plain.items():
        # Rounding errors grow from step to step; the clipping is far more than they are.
        assert (found[name] - weight).norm() < 0.1 * (unclipped[name] - weight).norm(), name


def _projections(parts: Parts) -> dict[str, torch.Tensor]:
    return {name: p.detach() for name, p in parts.objective.named_parameters() if "qkv" in name}


def test_a_skipped_step_leaves_no_logits_to_the_next(workdir: Path) -> None:
    parts = _trained(workdir, "--trainer.guard.action=skip", steps=1)
    data = next(parts.training_data.steps(parts.training_data.start(), 0))
    position = Position(step=1, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))
    parameter = next(parts.objective.parameters())
    handle = parameter.register_hook(lambda gradient: gradient * float("nan"))
    recipe = load_recipe("recipe.toml", ["--trainer.guard.action=skip"])
    assert update(parts, data, position, recipe.trainer)[1] is not None
    handle.remove()
    assert all(block.peaks is None for block in parts.optimizer._clipping.blocks)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "stable_adamw", "muon", CLIPPED])
def test_the_memory_of_any_optimizer_is_estimated(workdir: Path, optimizer: str) -> None:
    rows = dict(describe(load_recipe("recipe.toml", [f"--optimizer={optimizer}"])))
    assert "optimizer state" in rows["estimated peak memory"]


def test_the_normalised_variant_is_refused_before_any_work(workdir: Path) -> None:
    with pytest.raises(RecipeError, match=r"optimizer.clip_attention_logits = 0.02(.|\n)*model.ngpt = true brings"):
        load_recipe("recipe.toml", [f"--optimizer={CLIPPED}", "--model.ngpt=true", "--model.dropout_prob=0.0"])
