"""What a user's type checker sees of the library: `mypy tests/typing` checks it, wrong uses too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import neobert


def train() -> neobert.Run:
    run = neobert.run("pretrain", {"trainer.max_steps": 100, "trainer.ema": None}, console=None)
    assert_type(run, neobert.Run)
    assert_type(run.metrics["train/loss"].last, float)
    assert_type(run.metrics["train/loss"], neobert.Series)
    assert_type([step for step, _ in run.metrics["eval/loss"]], list[int])
    assert_type(run.summary, dict[str, Any])
    assert_type(run.export, Path)
    assert_type(run.status, int | None)
    neobert.run(Path("mine.toml"), ["--trainer.max_steps", "100"])
    neobert.run(3)  # type: ignore[arg-type]
    neobert.run("pretrain", 3)  # type: ignore[arg-type]
    _ = run.metrics["train/loss"].first  # type: ignore[attr-defined]
    return run


def use(run: neobert.Run) -> None:
    model = neobert.load(run, pooling="cls")
    assert_type(model, neobert.LoadedModel)
    assert_type(model.encoder, neobert.TextEncoder)
    assert_type(model.encoder.encode(["a", "b"], kind="query", normalize=True), NDArray[np.float32])
    assert_type(model.encoder.encode("a"), NDArray[np.float32])
    assert_type(model.description, str)
    neobert.load(run, pooling="sum")  # type: ignore[arg-type]
    model.encoder.encode([1])  # type: ignore[list-item]
    model.encoder.encode("a", kind="passage")  # type: ignore[arg-type]


def meet() -> None:
    try:
        train()
    except neobert.RecipeError as error:
        assert_type([problem.key for problem in error.problems], list[str])
    except neobert.RunInterrupted as stopped:
        assert_type(stopped.run, neobert.Run)
