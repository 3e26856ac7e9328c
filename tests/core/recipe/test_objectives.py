"""Several objectives in a recipe: each with tables of its own, checked as if it were the only one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.errors import RecipeError
from neobert.recipe import Recipe, compare, load_recipe

TWO = """
[objectives.mlm]
probability = 0.25
dataset = { name = "files", path = "corpus.txt", max_seq_length = 64 }

[objectives.pairs]
probability = 0.75
datacollator = "pairs"
loss = { name = "info_nce", temperature = 0.1 }
[objectives.pairs.dataset]
name = "files"
path = "pairs.jsonl"
max_seq_length = 32
"""
Load = Callable[..., Recipe]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """``load(text, *overrides, base=...)``: the recipe of a text, which may extend ``base.toml``."""

    def make(text: str, *overrides: str, base: str = "") -> Recipe:
        (tmp_path / "base.toml").write_text(base)
        (tmp_path / "recipe.toml").write_text(text)
        return load_recipe(tmp_path / "recipe.toml", overrides)

    return make


def said(load: Load, text: str, *overrides: str, base: str = "") -> str:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides, base=base)
    return str(caught.value)


def test_each_has_parts_of_its_own_and_the_usual_defaults(load: Load) -> None:
    recipe = load(TWO)
    mlm, pairs = recipe.views.values()
    assert list(recipe.views) == ["mlm", "pairs"]
    assert (mlm.datacollator.name, mlm.loss.name, mlm.dataset.max_seq_length) == ("mlm", "masked_lm", 64)
    assert (pairs.datacollator.name, pairs.loss.temperature, pairs.dataset.max_seq_length) == ("pairs", 0.1, 32)
    assert not pairs.objectives
    assert pairs.origins["loss.temperature"].endswith("recipe.toml:9")
    assert pairs.trainer is recipe.trainer
    assert recipe.origins["objectives.pairs.loss.temperature"].endswith("recipe.toml:9")
    assert "dataset.name" not in recipe.flat()


def test_one_objective_is_its_own_view(load: Load) -> None:
    recipe = load('[dataset]\nname = "stdlib"\n')
    assert recipe.views == {"": recipe}
    assert not any(key.startswith("objectives") for key in recipe.flat())


def test_the_effective_recipe_loads_again(load: Load) -> None:
    recipe = load(TWO)
    assert load(recipe.to_toml()) == recipe


def test_overrides_reach_into_an_objective(load: Load) -> None:
    recipe = load(
        TWO,
        "--objectives.pairs.loss.temperature=0.2",
        "--objectives.mlm.loss",
        "full_logits_lm",
        "--objectives.mlm.probability=0.4",
        "--objectives.pairs.probability=0.6",
    )
    assert recipe.objectives["pairs"].loss.temperature == 0.2
    assert recipe.objectives["mlm"].loss.name == "full_logits_lm"
    assert recipe.objectives["mlm"].probability == 0.4


def test_an_objective_can_be_taken_out(load: Load) -> None:
    recipe = load(TWO, "--objectives.mlm=none", "--objectives.pairs.probability=1.0")
    assert list(recipe.views) == ["pairs"]


def test_objectives_take_the_place_of_what_is_extended(load: Load) -> None:
    base = '[dataset]\nname = "stdlib"\n[loss]\nname = "full_logits_lm"\n[model]\nhidden_size = 96\n'
    recipe = load(f'extends = "base.toml"\n{TWO}', base=base)
    assert recipe.views["mlm"].loss.name == "masked_lm"
    assert recipe.model.hidden_size == 96


def test_objectives_of_two_layers_are_put_together(load: Load) -> None:
    text = 'extends = "base.toml"\n[objectives.mlm]\nprobability = 0.5\n[objectives.pairs]\nprobability = 0.5\n'
    recipe = load(text, base=TWO)
    assert recipe.objectives["pairs"].probability == 0.5
    assert recipe.objectives["pairs"].loss.temperature == 0.1


def test_unset_objectives_leave_room_for_one(load: Load) -> None:
    recipe = load('extends = "base.toml"\nunset = ["objectives"]\n[dataset]\nname = "stdlib"\n', base=TWO)
    assert not recipe.objectives
    assert recipe.dataset.name == "stdlib"


def test_a_table_beside_objectives_is_refused(load: Load) -> None:
    found = said(load, f'{TWO}\n[loss]\nname = "masked_lm"\n')
    assert "recipe.toml:15: loss" in found
    assert "[objectives.NAME.loss]" in found
    assert "say it there" in said(load, TWO, "--dataset.max_seq_length=16")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (TWO.replace("0.75", "0.7"), "add up to 0.95, expected 1: mlm 0.25, pairs 0.7"),
        (TWO.replace("probability = 0.75\n", ""), "objectives.pairs.probability\n  missing"),
        (TWO.replace("0.75", "0.0"), "objectives.pairs.probability = 0.0"),
        (TWO.replace("0.75", '"often"'), "expected a float"),
        (TWO.replace("[objectives.pairs]", "[objectives.pairs]\nprobabilty = 1"), 'did you mean "probability"?'),
        (TWO.replace('loss = { name = "info_nce"', 'loss = { name = "info_nc"'), 'did you mean "info_nce"?'),
        (TWO.replace("temperature", "temprature"), 'did you mean "temperature"?'),
        (TWO.replace("objectives.mlm", 'objectives."m l m"'), "an objective's name is letters"),
        ("[objectives]\n", "names no objective"),
        ("objectives = 3\n", "expected a table"),
        ("[objectives.mlm]\nprobability = 1.0\n", "objectives.mlm.dataset\n  missing"),
    ],
)
def test_bad_input(load: Load, text: str, wanted: str) -> None:
    assert wanted in said(load, text)


def test_checks_are_told_by_the_keys_that_they_stand_under(load: Load) -> None:
    text = TWO.replace('datacollator = "pairs"\n', "").replace(
        "max_seq_length = 64", "max_seq_length = 64, num_workers = 0, prefetch_factor = 2"
    )
    found = said(load, text)
    assert "objectives.pairs.datacollator.name" in found
    assert "objectives.mlm.dataset.prefetch_factor" in found
    assert "recipe.toml:4: objectives.mlm.dataset.prefetch_factor = 2" in found


def test_differences_have_full_keys(load: Load) -> None:
    changes = compare(load(TWO), load(TWO, "--objectives.mlm.dataset.max_seq_length=48"))
    assert [change.key for change in changes] == ["objectives.mlm.dataset.max_seq_length"]
