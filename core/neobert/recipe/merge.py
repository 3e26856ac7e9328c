"""How layers of one table become one: key by key, with the rule for naming another plugin.

A key keeps the stack of what every layer says of it, lowest first: how a stack is read depends on the key's
type, which is known only once the plugin is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from neobert.errors import Problem
from neobert.recipe.nodes import COMMAND_LINE, Key, Node, Text, dotted, node_tree
from neobert.recipe.overrides import as_part, is_none
from neobert.recipe.unknown import shown_value

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

Stacks = dict[str, list[Node]]


@define
class MergedPart:
    """A part whose layers have been put together."""

    name: Node | None = None
    key: Key = ()
    """Where the name stands: ``model.name``, or ``model.attn_backend`` where a name alone is given."""
    where: str | None = None
    """The highest layer that says anything of the part."""
    stacks: Stacks = field(factory=dict)


def merge_part(layers: Sequence[Node], served: Collection[str], path: Key, problems: list[Problem]) -> MergedPart:
    """Naming another plugin drops what lower layers say of the first one's keys, except ``served``."""
    merged = MergedPart()
    for layer in layers:
        node = as_part(layer.value) if isinstance(layer.value, Text) else layer
        if is_none(layer):
            message = "a part cannot be unset: a recipe always names one"
            problems.append(Problem(layer.where, dotted(path), '"none"', message))
            continue
        if not isinstance(node.value, str | dict):
            message = "expected the name of a plugin, or a table with `name` and its options"
            problems.append(Problem(layer.where, dotted(path), shown_value(layer), message))
            continue
        entries = dict(node.value) if isinstance(node.value, dict) else {}
        name = entries.pop("name", None) if isinstance(node.value, dict) else node
        merged.where = layer.where
        if name is not None:
            _rename(merged, name, path if name is node else (*path, "name"), served, problems)
        _push(merged.stacks, entries)
    return merged


def merge_table(layers: Sequence[Node], path: Key, problems: list[Problem]) -> Stacks:
    """The layers of a table that names no plugin."""
    stacks: Stacks = {}
    for layer in layers:
        node = node_tree(layer.value.value(), COMMAND_LINE) if isinstance(layer.value, Text) else layer
        if isinstance(node.value, dict):
            _push(stacks, node.value)
        else:
            problems.append(Problem(layer.where, dotted(path), shown_value(layer), "expected a table"))
    return stacks


def _push(stacks: Stacks, entries: dict[str, Node]) -> None:
    for key, node in entries.items():
        stacks.setdefault(key, []).append(node)


def _rename(merged: MergedPart, name: Node, key: Key, served: Collection[str], problems: list[Problem]) -> None:
    if isinstance(name.value, Text):
        name = Node(name.value.string(), name.where)
    if not isinstance(name.value, str):
        message = "expected the name of a plugin, as a string"
        problems.append(Problem(name.where, dotted(key), shown_value(name), message))
        return
    if merged.name is not None and merged.name.value != name.value:
        merged.stacks = {key: stack for key, stack in merged.stacks.items() if key in served}
    merged.name, merged.key = name, key
