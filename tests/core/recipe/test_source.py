"""Files that are no recipes, and chains of recipes that lead nowhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from neobert.errors import RecipeError
from neobert.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from neobert.registry import Registry

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]

PLAIN = '[dataset]\nname = "plain"\n'


def refusal(path: str | Path, registry: Registry) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, registry=registry)
    return str(caught.value)


def test_files_that_are_no_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pretrain.toml").write_text(PLAIN)
    Path("broken.toml").write_text("a = 1\nb = = 2\n")
    Path("twice.toml").write_text("a = 1\na = 2\n")
    Path("latin.toml").write_bytes(b"a = '\xff'")
    Path("deep.toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    Path("folder.toml").mkdir()
    assert refusal("pretrian.toml", registry) == "pretrian.toml\n  there is no such recipe; did you mean pretrain.toml?"
    assert "did you mean pretrain.toml?" in refusal("pretrain", registry)
    assert "no folder nowhere" in refusal("nowhere/x.toml", registry)
    assert refusal("broken.toml", registry).startswith("broken.toml:2\n  not valid TOML: ")
    assert refusal("twice.toml", registry).startswith("twice.toml:2\n  not valid TOML: ")
    assert "not UTF-8" in refusal("latin.toml", registry)
    assert "not valid TOML" in refusal("deep.toml", registry)
    assert "is a folder" in refusal(tmp_path / "folder.toml", registry)


def test_a_mark_and_crlf_are_no_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> None:
    monkeypatch.chdir(tmp_path)
    Path("windows.toml").write_bytes(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
    assert load_recipe("windows.toml", registry=registry).origins["dataset.name"] == "windows.toml:2"


def test_a_base_that_is_not_there_does_not_hide_other_faults(faults: Faults) -> None:
    found = faults('extends = "gone.toml"\n[trainer]\nseed = "x"\n')
    assert found["extends"] == 'recipe.toml:1: extends = "gone.toml"\n  gone.toml: there is no such recipe'
    assert set(found) == {"extends", "trainer.seed"}


def test_circles(faults: Faults) -> None:
    assert faults('extends = "recipe.toml"\n')["extends"].endswith(
        "recipes extend each other in a circle: recipe.toml -> recipe.toml"
    )
    found = faults('extends = "one.toml"', one='extends = "two.toml"', two='extends = "./recipe.toml"')
    assert found["extends"].startswith("two.toml:1: ")
    assert "recipe.toml -> one.toml -> two.toml -> recipe.toml" in found["extends"]


@pytest.mark.parametrize("value", ["3", '["a.toml"]', '""', "{ a = 1 }", r'"a\u0000b"'])
def test_extends_is_a_string(faults: Faults, value: str) -> None:
    assert "expected the path of another recipe" in faults(f"extends = {value}\n" + PLAIN)["extends"]


def test_extends_stands_at_the_top_only(faults: Faults) -> None:
    assert "unknown key" in faults(PLAIN + '[trainer]\nextends = "x.toml"\n')["trainer.extends"]


def test_paths_are_shown_relative_where_that_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry
) -> None:
    (tmp_path / "sub").mkdir()
    recipe = tmp_path / "sub" / "r.toml"
    recipe.write_text(PLAIN)
    monkeypatch.chdir(tmp_path)
    assert load_recipe(recipe, registry=registry).origins["dataset.name"] == "sub/r.toml:2"
    monkeypatch.chdir("/usr/lib")
    assert load_recipe(recipe, registry=registry).origins["dataset.name"] == f"{recipe}:2"
