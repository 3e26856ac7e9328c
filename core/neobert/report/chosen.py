"""Which values of a recipe are not the defaults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from neobert.errors import UserError
from neobert.parts import Part, part_kind
from neobert.recipe import Recipe, load_recipe
from neobert.recipe.fields import default_of
from neobert.recipe.nodes import Key, dotted, plain
from neobert.recipe.source import defaults_layer
from neobert.toml_text import key_of, recipe_fields, toml_value


def chosen_keys(file: Path) -> tuple[set[str] | None, str]:
    """The dotted keys whose value is not the default, of a run's recipe; None, and why, where its plugins cannot be
    asked."""
    try:
        recipe = load_recipe(file)
    except UserError as error:
        return None, f"what is not a default cannot be told here: {str(error).splitlines()[0]}"
    return set(_chosen(recipe)), ""


def _chosen(recipe: Recipe) -> Iterator[str]:
    lowest = dict(_flat(plain(defaults_layer()), ()))
    defaults = {**_names_of_fields(recipe), **lowest}
    for key, value in recipe.flat().items():
        if key.endswith(".name") and value not in (defaults.get(key), defaults.get(key.removesuffix(".name"))):
            yield key
    for attribute in recipe.tables():
        for path, holder in _holders(getattr(recipe, attribute.name), (attribute.name,)):
            for field in recipe_fields(type(holder)):
                value, key = getattr(holder, field.name), dotted((*path, key_of(field)))
                if not _has_keys(value) and toml_value(value) != lowest.get(key, toml_value(default_of(field, holder))):
                    yield key


def _holders(value: Any, path: Key) -> Iterator[tuple[Key, Any]]:
    """Every object whose fields are keys."""
    if isinstance(value, Part):
        for holder in (value.served, value.options):
            yield from _holders(holder, path)
    elif attrs.has(type(value)):
        yield path, value
        for field in recipe_fields(type(value)):
            yield from _holders(getattr(value, field.name), (*path, key_of(field)))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _holders(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _holders(item, (*path, index))


def _names_of_fields(recipe: Recipe) -> dict[str, Any]:
    """What parts inside of parts are called where a recipe names none."""
    found = {}
    for attribute in recipe.tables():
        for path, holder in _holders(getattr(recipe, attribute.name), (attribute.name,)):
            for field in recipe_fields(type(holder)):
                default = default_of(field, holder) if part_kind(field) is not None else None
                named = default.get("name") if isinstance(default, Mapping) else default
                if isinstance(named, str):
                    found[dotted((*path, key_of(field), "name"))] = named
    return found


def _has_keys(value: Any) -> bool:
    """Whether its own fields are keys."""
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else (value,)
    return any(attrs.has(type(item)) for item in items)


def _flat(value: Any, path: Key) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flat(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield dotted((*path, index, "name")), item
    else:
        yield dotted(path), value
