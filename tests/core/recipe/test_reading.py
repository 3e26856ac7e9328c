"""What others read from a loaded recipe: attributes, flat keys, differences, and the text of --check."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import pytest

from neobert.recipe import Change, Recipe, compare, render_check

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[..., Recipe]

PLAIN = '[dataset]\nname = "plain"\n'


def test_dotted_keys_are_attribute_paths(load: Load) -> None:
    recipe = load(PLAIN, "--model.attn_backend=wrapping")
    for key, value in recipe.flat().items():
        place: object = recipe
        for name in key.split("."):
            if isinstance(place, dict):
                place = place[name]
            else:
                place = place[int(name)] if isinstance(place, tuple) else getattr(place, name)
        assert (list(place) if isinstance(place, tuple) else place) == value


def test_a_recipe_is_frozen(load: Load) -> None:
    recipe = load(PLAIN)
    for holder, name in ((recipe, "trainer"), (recipe.trainer, "seed"), (recipe.model, "name")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(holder, name, 1)


def test_compare_tells_every_key_that_differs(load: Load) -> None:
    old = load(PLAIN, "--model.attn_backend=flex", "--trainer.gradient_clipping=1.0")
    new = load(PLAIN, "--trainer.seed=3", "--trainer.output_dir=./runs/neobert")
    changes = compare(old, new)
    assert changes == [
        Change("model.attn_backend.name", "flex", "sdpa"),
        Change("trainer.seed", 42, 3),
        Change("trainer.gradient_clipping", 1.0, None),
        Change("model.attn_backend.block_size", 64, None),
    ]
    assert str(changes[2]) == "trainer.gradient_clipping: 1.0 -> unset"
    assert compare(old.flat(absolute=True), old) == []
    assert old == load(PLAIN, "--model.attn_backend=flex", "--trainer.gradient_clipping=1")


def test_check_shows_values_origins_and_distributions(load: Load) -> None:
    lines = render_check(load(PLAIN + "max_seq_length = 77\n", "--trainer.seed=5")).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert lines[0] == "recipe recipe.toml"
    assert rows["dataset.max_seq_length"] == ["77", "recipe.toml:3"]
    assert rows["trainer.seed"] == ["5", "command", "line"]
    assert rows["trainer.save_steps"] == ["(unset)", "default"]
    assert rows["model.attn_backend"] == ["attn_backend", "sdpa", "fakes"]


def test_importing_recipes_is_light(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    heavy = "torch", "numpy", "transformers", "datasets", "accelerate", "tokenizers"
    code = f"""
import sys
from neobert.errors import RecipeError
from neobert.recipe import *
from neobert.registry import Registry
try:
    load_recipe({str(tmp_path / "recipe.toml")!r}, registry=Registry.of([]))
except RecipeError:
    print([name for name in {heavy!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
