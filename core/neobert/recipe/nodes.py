"""A recipe's values with where each of them stands, before anything is known about their types."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias

import tomli
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

Key: TypeAlias = tuple[str | int, ...]
"""The path to a value: table and key names, and indices of arrays."""

DEFAULT = "default"
"""The origin of a value that no recipe and no override gave."""
COMMAND_LINE = "command line"

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class _Unset(Enum):
    UNSET = "none"


UNSET = _Unset.UNSET
"""What stands in a layer for a key that it unsets."""


@frozen
class Text:
    """The right side of an override: what it means depends on the type of its key."""

    raw: str

    def value(self) -> Any:
        """The TOML value that the text is; the text itself where it is none: a bare word is a string."""
        try:
            tree = tomli.loads(f"value = {self.raw}")
        except (tomli.TOMLDecodeError, RecursionError):
            return self.raw
        return tree["value"] if set(tree) == {"value"} else self.raw

    def string(self) -> str:
        """For a key that holds a string: quoted TOML is unquoted, anything else is taken as it stands."""
        value = self.value()
        return value if isinstance(value, str) and self.raw.lstrip().startswith(('"', "'")) else self.raw


@frozen
class Node:
    """One value of one layer: a scalar, a list or dict of nodes, `Text`, or `UNSET`."""

    value: Any
    where: str


def node_tree(value: Any, where: Mapping[Key, str] | str, path: Key = ()) -> Node:
    """Plain TOML values as nodes. ``where`` is one place for all, or maps each path to its own."""
    here = where if isinstance(where, str) else where[path]
    if isinstance(value, dict):
        return Node({key: node_tree(item, where, (*path, key)) for key, item in value.items()}, here)
    if isinstance(value, list | tuple):
        return Node([node_tree(item, where, (*path, index)) for index, item in enumerate(value)], here)
    return Node(value, here)


def plain(node: Node) -> Any:
    """The node's value without places."""
    if isinstance(node.value, dict):
        return {key: plain(item) for key, item in node.value.items()}
    if isinstance(node.value, list):
        return [plain(item) for item in node.value]
    return node.value.value() if isinstance(node.value, Text) else node.value


def at(path: Key, leaf: Node) -> Node:
    """A layer that holds one value alone."""
    for part in reversed(path):
        leaf = Node({str(part): leaf}, leaf.where)
    return leaf


def dotted(path: Key) -> str:
    """The path as a dotted TOML key: parts that are not bare keys are quoted."""
    return ".".join(_part_text(part) for part in path)


def _part_text(part: str | int) -> str:
    text = str(part)
    if _BARE.fullmatch(text):
        return text
    from neobert.toml_text import toml_text

    return toml_text(text)
