"""torch.compile as the recipe asks for it: the same losses, clear failures, nothing compiled again in silence."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from neobert.errors import RecipeError, UserError
from neobert.recipe import load_recipe
from neobert.training.assemble import assemble
from neobert.training.compilation import clear_compile_failures, refuse_missing_compiler
from neobert.training.devices import place
from neobert.training.loop import Position, update
from neobert.training.meter import Meter

COMPILE = "--trainer.torch_compile=true"


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    from torch._dynamo import config

    torch._dynamo.reset()
    with config.patch(fail_on_recompile_limit_hit=False):
        yield


def losses(workdir: Path, *overrides: str, steps: int = 2) -> list[float]:
    recipe = load_recipe("recipe.toml", ["--model.dropout_prob=0.0", *overrides])
    parts = assemble(recipe, place(recipe.trainer), workdir / "run")
    position = Position(step=0, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))
    found = []
    with clear_compile_failures(recipe.trainer):
        for data in parts.training_data.steps(position.cursor, 0):
            update(parts, data, position, recipe.trainer)
            found.append(position.meter.read()["loss"])
            position.step += 1
            if position.step == steps:
                return found
    raise AssertionError


@pytest.mark.parametrize(
    ("backend", "packed"),
    [
        ("eager", "true"),
        ("eager", "false"),
        ("aot_eager", "true"),
        pytest.param("aot_eager", "false", marks=pytest.mark.slow),
    ],
)
def test_losses_are_those_of_the_same_run_without_it(workdir: Path, backend: str, packed: str) -> None:
    packing = f"--datacollator.pack_sequences={packed}"
    got = losses(workdir, COMPILE, f"--trainer.torch_compile_backend={backend}", packing)
    assert got == pytest.approx(losses(workdir, packing), rel=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_losses_with_inductor(workdir: Path) -> None:
    """Packed, as it is meant to be compiled; sizes that vary are above: inductor needs half a minute for either."""
    assert losses(workdir, COMPILE) == pytest.approx(losses(workdir), rel=1e-4)


def test_with_recomputing(workdir: Path) -> None:
    both = (COMPILE, "--trainer.torch_compile_backend=aot_eager", "--trainer.gradient_checkpointing=true")
    assert losses(workdir, *both) == pytest.approx(losses(workdir), rel=1e-5)


def test_packed_steps_are_compiled_once(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "neobert"):
        losses(workdir, COMPILE, "--trainer.torch_compile_backend=eager", steps=6)
    assert not [record for record in caplog.messages if "compiled" in record]


def test_compiling_again_is_told_with_its_reason_and_ends(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    static = ("--datacollator.pack_sequences=false", "--trainer.torch_compile_dynamic=false")
    small = ("--trainer.gradient_accumulation_steps=1", "--trainer.torch_compile_backend=eager")
    with (
        caplog.at_level(logging.WARNING, "neobert"),
        pytest.raises(UserError, match=r"compiled again and again.*\n.*torch_compile=false"),
    ):
        losses(workdir, COMPILE, *static, *small, steps=20)
    told = [message for message in caplog.messages if "compiled" in message]
    assert told
    assert "size mismatch at index 0" in told[0]
    assert all("\n" not in message for message in told)


def test_a_failure_is_told_in_a_line(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Any = torch.compile

    def broken(graph: Any, inputs: Any) -> Any:
        msg = "no kernel for this\nmore of it"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch, "compile", lambda function, backend, dynamic: plain(function, backend=broken))
    with pytest.raises(UserError) as caught:
        losses(workdir, COMPILE, "--trainer.torch_compile_backend=eager")
    first, second = str(caught.value).splitlines()
    assert first == "trainer.torch_compile: backend eager could not compile the block: RuntimeError: no kernel for this"
    assert "--trainer.torch_compile=false" in second


def test_other_failures_stay_what_they_are(workdir: Path) -> None:
    trainer = load_recipe("recipe.toml", [COMPILE]).trainer
    with pytest.raises(ZeroDivisionError), clear_compile_failures(trainer):
        raise ZeroDivisionError


def test_a_missing_compiler_is_told_before_any_work(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "a-compiler-that-nobody-has")
    recipe = load_recipe("recipe.toml", [COMPILE])
    with pytest.raises(RecipeError, match="needs a C\\+\\+ compiler, and a-compiler-that-nobody-has is not here"):
        refuse_missing_compiler(recipe, "cpu")
    refuse_missing_compiler(recipe, "cuda")
    refuse_missing_compiler(load_recipe("recipe.toml", [COMPILE, "--trainer.torch_compile_backend=eager"]), "cpu")
    refuse_missing_compiler(load_recipe("recipe.toml"), "cpu")
