"""Runs of a few steps that a module's tests share."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import write_workdir

from neobert.recipe import load_recipe
from neobert.training.run import run

Train = Callable[..., Path]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Train]:
    """``train("name", "--key=value", ...)``: the folder of a run of the tiny recipe, finished."""
    folder, patch, before = tmp_path_factory.mktemp("runs"), pytest.MonkeyPatch(), Path.cwd()
    write_workdir(folder)
    patch.setenv("NEOBERT_CACHE", str(cache))

    def start(name: str, *overrides: str) -> Path:
        os.chdir(folder)
        recipe = load_recipe(Path("recipe.toml"), [*overrides, f"--trainer.output_dir={folder / name}"])
        assert run(recipe, Console(file=io.StringIO())) == 0
        os.chdir(before)
        return folder / name

    yield start
    os.chdir(before)
    patch.undo()
