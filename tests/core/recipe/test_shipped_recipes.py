"""Recipes that come with the tool: by name, listed, copied; filled in, compared, and described by a schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli
from jsonschema import Draft202012Validator

from neobert.cli import main
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.recipe.schema import recipe_schema
from neobert.recipe.shipped import copy_recipe, recipe_path, shipped_recipes
from neobert.recipe.write import recipe_text
from neobert.registry import default_registry

RECIPES = shipped_recipes()


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    found = recipe_schema(default_registry())
    Draft202012Validator.check_schema(found)
    return Draft202012Validator(found)


def test_a_name_is_a_recipe_where_no_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert recipe_path("pretrain") == RECIPES["pretrain"]
    assert recipe_path("neobert/stage1") == RECIPES["neobert/stage1"]
    assert recipe_path("mine.toml") == Path("mine.toml")
    Path("pretrain").write_text("")
    assert recipe_path("pretrain") == Path("pretrain")


def test_each_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_means_the_same(name: str, tmp_path: Path) -> None:
    written = copy_recipe(name, tmp_path / "mine" / "copy.toml")
    assert written[0] == tmp_path / "mine" / "copy.toml"
    assert load_recipe(written[0]) == load_recipe(RECIPES[name])
    assert copy_recipe(name, written[0]) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "pretrain.toml").write_text("mine")
    with pytest.raises(UserError, match=r"pretrain\.toml is there already"):
        copy_recipe("contrastive", tmp_path / "copy.toml")
    assert not (tmp_path / "copy.toml").exists()
    with pytest.raises(UserError, match="did you mean pretrain"):
        copy_recipe("pretran", tmp_path / "x.toml")


@pytest.mark.parametrize("name", RECIPES)
def test_filled_in_it_loads_to_the_same(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES[name])
    text = recipe_text(recipe, with_help=True)
    (tmp_path / "filled.toml").write_text(text)
    assert load_recipe(tmp_path / "filled.toml") == recipe
    assert "# width of the hidden states\nhidden_size =" in text
    assert text.count("\n#") > recipe.to_toml().count("\n#")


def test_differences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.toml").write_text(load_recipe(RECIPES["pretrain"], ["--trainer.max_steps=7"]).to_toml())
    assert main(["--diff", "pretrain", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "trainer.max_steps: 600 -> 7\n"
    assert main(["--diff", "pretrain", "pretrain"]) == 0
    (tmp_path / "recipe.toml").unlink()
    assert main(["--diff", "pretrain", str(tmp_path)]) == 2
    assert "without a recipe.toml" in capsys.readouterr().err


@pytest.mark.parametrize("name", RECIPES)
def test_the_schema_takes_shipped_recipes_as_written_and_filled_in(name: str, schema: Draft202012Validator) -> None:
    for text in (RECIPES[name].read_text(), load_recipe(RECIPES[name]).to_toml()):
        assert [error.message for error in schema.iter_errors(tomli.loads(text))] == []


@pytest.mark.parametrize(
    "change",
    [
        {"trainer": {"max_step": 3}},
        {"trainer": {"max_steps": "3"}},
        {"trainer": {"max_steps": 0}},
        {"model": {"name": "neobert", "hiden_size": 3}},
        {"model": {"attn_backend": "spda"}},
        {"loss": "masked_ml"},
        {"trackers": "jsonl"},
        {"objectives": {"a": {"probability": 2.0}}},
        {"optimizer": {"name": "adamw", "betas": [0.9]}},
    ],
)
def test_the_schema_refuses_what_the_recipe_would(change: dict[str, Any], schema: Draft202012Validator) -> None:
    recipe = {"dataset": {"name": "stdlib"}} | change
    assert list(schema.iter_errors(recipe))
    assert not list(schema.iter_errors({"dataset": {"name": "stdlib"}}))


def test_the_schema_is_printed_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--schema"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["properties"]["trainer"]["properties"]["max_steps"]["description"]
