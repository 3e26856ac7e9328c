"""docs/recipes.md says what the classes say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli

from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.recipe.document import document, replaced
from neobert.registry import Registry, default_registry

PAGE = Path(__file__).parents[3] / "docs" / "recipes.md"


def test_the_page_is_what_the_classes_say() -> None:
    text = PAGE.read_text(encoding="utf-8")
    wanted = replaced(text, document(default_registry()))
    assert text == wanted, "run: python -m neobert.recipe.document docs/recipes.md"


def test_every_key_of_a_loaded_recipe_has_a_row(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('[dataset]\nname = "everything"\n')
    text = document(registry, "fakes")
    for key in load_recipe(tmp_path / "recipe.toml", registry=registry).flat():
        table, *rest = [part for part in key.split(".") if not part.isdecimal()]
        if rest[0] != "name":
            assert f"| `{rest[0]}` |" in text, (table, rest)
    assert document(registry, "others").count("| `") < text.count("| `")


def test_a_page_without_a_place_for_the_tables() -> None:
    with pytest.raises(UserError, match="no place"):
        replaced("<!-- keys: end --> <!-- keys: begin -->", "")


def test_the_examples_of_the_page_are_toml() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        tomli.loads(block)
