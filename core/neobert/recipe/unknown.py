"""What to say about a key that no table here takes: where it went, where it belongs, or what is nearest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import attrs
from attrs import frozen

from neobert.errors import Problem
from neobert.recipe.moved import MOVED
from neobert.recipe.nodes import UNSET, Key, Node, Text, dotted, plain
from neobert.recipe.overrides import as_string, parsed
from neobert.recipe.toml_text import toml_text


@frozen
class Table:
    """The keys that a table of this recipe takes, and the plugin that takes them."""

    keys: tuple[str, ...]
    kind: str | None = None
    plugin: str | None = None


@frozen
class Unknown:
    """A key that its table does not take."""

    path: Key
    node: Node


def shown_value(node: Node) -> str | None:
    """A node's value as TOML, for a problem; tables are left out."""
    if isinstance(node.value, Text):
        value = parsed(node.value)
        return toml_text(as_string(node.value) if isinstance(value, str) else value)
    return None if _is_table(node) or node.value is UNSET else toml_text(plain(node))


def unknown_problems(found: Unknown, tables: Mapping[Key, Table], registry: Any) -> Iterator[Problem]:
    """A problem for the key; for an unknown table of an older tool, one for each key in it that has a new place."""
    moved = [leaf for leaf in _leaves(found) if dotted(leaf.path) in MOVED]
    for leaf in moved:
        message = f"not a key here, but one of the published NeoBERT tool; now: {MOVED[dotted(leaf.path)]}"
        yield Problem(leaf.node.where, dotted(leaf.path), shown_value(leaf.node), message)
    if not moved:
        yield Problem(found.node.where, dotted(found.path), shown_value(found.node), _message(found, tables, registry))


def is_moved(path: Key) -> bool:
    """Whether the key had a place in the published tool, and has another here."""
    return dotted(path) in MOVED


def _message(found: Unknown, tables: Mapping[Key, Table], registry: Any) -> str:
    *parent, key = found.path
    table = tables.get(tuple(parent), Table(()))
    what = "table" if not parent and _is_table(found.node) else "key"
    near = get_close_matches(str(key), table.keys, n=1)
    lines = [f'unknown {what}; did you mean "{near[0]}"?' if near else f"unknown {what}"]
    homes = [path for path, other in tables.items() if key in other.keys and path != tuple(parent) and key != "name"]
    if homes:
        lines.append(f"there is such a key elsewhere: {', '.join(dotted((*path, key)) for path in homes)}")
    takers = list(_takers(str(key), table, registry))
    if takers:
        lines.append(f'{table.kind} "{table.plugin}" does not take it; these do: {", ".join(takers)}')
    if not (near or homes or takers) and table.keys:
        owner = f"[{dotted(tuple(parent))}]" if parent else "a recipe"
        lines.append(f"{owner} takes: {', '.join(sorted(table.keys))}")
    return "\n".join(lines)


def _takers(key: str, table: Table, registry: Any) -> Iterator[str]:
    """Other plugins of the table's kind that have such a key."""
    if key == "name":
        return
    for plugin in registry.plugins:
        if plugin.kind == table.kind and plugin.name != table.plugin:
            aliases = [field.alias for field in attrs.fields(plugin.options_class) if field.init]
            if key in aliases:
                yield plugin.name


def _leaves(found: Unknown) -> Iterator[Unknown]:
    yield found
    if isinstance(found.node.value, dict):
        for key, item in found.node.value.items():
            yield from _leaves(Unknown((*found.path, key), item))


def _is_table(node: Node) -> bool:
    return isinstance(node.value, dict)
