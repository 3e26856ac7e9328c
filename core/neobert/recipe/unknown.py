"""What to say about a key that no table here takes: where it went, where it belongs, or what is nearest."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from neobert.errors import Problem
from neobert.recipe.moved import RENAMED, moved
from neobert.recipe.nodes import UNSET, Key, Node, Text, dotted, plain
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from neobert.registry import Registry

_OLDER = "not a key here, but one of the published NeoBERT tool; now: "
_EARLIER = "a key of an earlier development version; now: "


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
        value = node.value.value()
        return toml_text(node.value.string() if isinstance(value, str) else value)
    return None if _is_table(node) or node.value is UNSET else toml_text(plain(node))


def unknown_problems(found: Unknown, tables: Mapping[Key, Table], registry: Registry) -> Iterator[Problem]:
    """A problem for the key; in a table of an older tool, one for each key that has a new place."""
    inside = [leaf for leaf in _leaves(found) if leaf is not found]
    told = [leaf for leaf in inside if is_moved(leaf.path)]
    if not told or any(not _is_table(leaf.node) and leaf not in told for leaf in inside):
        told.insert(0, found)
    for item in told:
        message = _moved_to(dotted(item.path)) or _message(item, tables, registry)
        yield Problem(item.node.where, dotted(item.path), shown_value(item.node), message)


def _moved_to(key: str) -> str | None:
    if key in RENAMED:
        return f"{_EARLIER}{RENAMED[key]}"
    return f"{_OLDER}{moved()[key]}" if key in moved() else None


def is_moved(path: Key) -> bool:
    """Whether the key had a place in the published tool, and has another here."""
    return dotted(path) in moved()


def _message(found: Unknown, tables: Mapping[Key, Table], registry: Registry) -> str:
    *parent, key = found.path
    table = tables.get(tuple(parent), Table(()))
    what = "table" if not parent and _is_table(found.node) else "key"
    homes = [path for path, other in tables.items() if _takes(other, key) and path != tuple(parent)]
    near = get_close_matches(str(key), table.keys, n=1, cutoff=0.8 if homes else 0.6)
    lines = [f'unknown {what}; did you mean "{near[0]}"?' if near else f"unknown {what}"]
    if homes:
        lines.append(f"there is such a key elsewhere: {', '.join(dotted((*path, key)) for path in homes)}")
    takers = list(_takers(str(key), table, registry))
    if takers:
        lines.append(f'{table.kind} "{table.plugin}" does not take it; these do: {", ".join(takers)}')
    if not (near or homes or takers) and table.keys:
        owner = f"[{dotted(tuple(parent))}]" if parent else "a recipe"
        lines.append(f"{owner} takes: {', '.join(sorted(table.keys))}")
    return "\n".join(lines)


def _takes(table: Table, key: str | int) -> bool:
    return key in table.keys and key != "name"


def _takers(key: str, table: Table, registry: Registry) -> Iterator[str]:
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
