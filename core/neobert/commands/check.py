"""``--check``: what a recipe means and costs, before any work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from neobert.parts import Part
from neobert.recipe import load_recipe
from neobert.recipe.toml_text import toml_text

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments

_WIDEST = 60


def run(arguments: Arguments) -> int:
    """Prints the resolved recipe, its parts and its costs; every mistake in it raises `RecipeError`."""
    recipe = load_recipe(Path(arguments.path), arguments.overrides)

    from neobert.training.inspect import describe

    costs = describe(recipe)
    origins = recipe.origins
    values = [(f"{key} = {toml_text(value)}", origins.get(key, "")) for key, value in recipe.flat().items()]
    parts = [(f"{key} = {toml_text(part.name)}", str(part.distribution)) for key, part in parts_of(recipe)]
    for title, rows in (("values, and where each comes from", values), ("parts", parts), ("costs", costs)):
        print(f"{title}:")
        _print_rows(rows)
    return 0


def parts_of(owner: Any, prefix: str = "") -> Iterator[tuple[str, Part]]:
    """Every part of an attrs object with its dotted key, parts inside parts too."""
    for attribute in attrs.fields(type(owner)):
        if not attribute.name.startswith("_"):
            yield from _parts_in(getattr(owner, attribute.name), f"{prefix}{attribute.name}")


def _parts_in(value: Any, key: str) -> Iterator[tuple[str, Part]]:
    if isinstance(value, Part):
        yield key, value
        yield from parts_of(value.options, f"{key}.")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _parts_in(item, f"{key}[{index}]")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _parts_in(item, f"{key}.{name}")
    elif attrs.has(type(value)):
        yield from parts_of(value, f"{key}.")


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = min(max((len(left) for left, _ in rows), default=0), _WIDEST)
    for left, right in rows:
        print(f"  {left:{width}}  {right}".rstrip())
