"""The effective recipe as TOML: every value filled in, so that it means the same whatever defaults become."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import attrs
import tomlkit
from attrs import Attribute

from neobert.parts import Part
from neobert.recipe.fields import default_of
from neobert.recipe.nodes import DEFAULT, Key, dotted
from neobert.recipe.paths import absolute_paths
from neobert.toml_text import key_of, recipe_fields, toml_item

if TYPE_CHECKING:
    from neobert.recipe.tree import Recipe

WIDTH = 110
HEADER = "The effective recipe: every value filled in. It runs again as it is, with another trainer.output_dir."


def recipe_text(recipe: Recipe, *, with_help: bool = False) -> str:
    """The recipe's TOML. Unset keys are comments, and those whose default is not unset stand in ``unset``.

    ``with_help``: what each key is for stands above it.
    """
    document = tomlkit.document()
    document.add(tomlkit.comment(HEADER))
    unset = [dotted(path) for path in _unset_keys(recipe)]
    if unset:
        document.add("unset", toml_item(unset))
    tables = {attribute.name: getattr(recipe, attribute.name) for attribute in recipe.tables()}
    _add(document, tables, {}, with_help=with_help)
    return tomlkit.dumps(document)


def _add(
    container: Any, values: Mapping[str, Any], attributes: Mapping[str, Attribute[Any]], *, with_help: bool
) -> None:
    """Adds keys to a table: first what fits on a line, then what has keys of its own, as TOML wants it."""
    tables = {key: value for key, value in values.items() if _is_part_like(value)}
    for key, value in values.items():
        if with_help and key in attributes and key not in tables:
            _explain(container, attributes[key])
        if value is None:
            container.add(tomlkit.comment(f"{dotted((key,))} ="))
        elif key not in tables:
            container.add(key, toml_item(absolute_paths(value, attributes.get(key))))
    for key, value in tables.items():
        if isinstance(value, list | tuple):
            items = tomlkit.aot()
            for item in value:
                items.append(_table(item, with_help=with_help))
            container.add(key, items)
        else:
            container.add(key, _table(value, with_help=with_help))


def _explain(container: Any, attribute: Attribute[Any]) -> None:
    """The key's help as a comment, in lines that fit."""
    for line in wrap(str(attribute.metadata.get("help", "")), WIDTH):
        container.add(tomlkit.comment(line))


def _table(value: Any, *, with_help: bool) -> Any:
    """A part, an instance of an options class, or a mapping of those, as a table."""
    table = tomlkit.table()
    if isinstance(value, Mapping):
        _add(table, value, {}, with_help=with_help)
        return table
    holders = [value]
    if isinstance(value, Part):
        table.add("name", value.name)
        holders = [holder for holder in (value.served, value.options) if holder is not None]
    fields = {key_of(attribute): (attribute, holder) for holder in holders for attribute in recipe_fields(type(holder))}
    values = {key: getattr(holder, attribute.name) for key, (attribute, holder) in fields.items()}
    _add(table, values, {key: attribute for key, (attribute, _) in fields.items()}, with_help=with_help)
    return table


def _is_part_like(value: Any) -> bool:
    """Whether a value gets tables of its own: parts and options, or a non-empty list or mapping of them."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        return bool(value) and all(attrs.has(type(item)) for item in value)
    return attrs.has(type(value))


def _unset_keys(recipe: Recipe) -> Iterator[Key]:
    """Keys that would come back with a value if the recipe only left them out."""
    for leaf in recipe.leaves():
        said = recipe.explicit_origins.get(dotted(leaf.path), DEFAULT) != DEFAULT
        if leaf.value is None and leaf.attribute and (said or leaf.attribute.default is not None):
            yield leaf.path
    yield from _removed(recipe, ())


def _removed(value: Any, path: Key) -> Iterator[Key]:
    """Keys of a default mapping that the recipe took out."""
    if isinstance(value, Part):
        yield from _removed(value.options, path)
    elif attrs.has(type(value)):
        for attribute in recipe_fields(type(value)):
            here, item = (*path, key_of(attribute)), getattr(value, attribute.name)
            default = default_of(attribute)
            if isinstance(item, Mapping) and isinstance(default, Mapping) and "name" not in default:
                yield from ((*here, key) for key in default if key not in item)
            yield from _removed(item, here)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _removed(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _removed(item, (*path, index))
