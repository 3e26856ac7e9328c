"""Fields of options classes, as a recipe sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
from attrs import NOTHING, Attribute

from neobert.parts import Part, part_kind
from neobert.recipe.nodes import DEFAULT, UNSET, Node
from neobert.toml_text import key_of, recipe_fields, toml_value


def default_of(attribute: Attribute[Any], instance: Any = None) -> Any:
    """A field's default before conversion; ``NOTHING`` where there is none, or where it needs an instance."""
    default: Any = attribute.default
    if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default
    if not default.takes_self:
        return default.factory()
    return NOTHING if instance is None else default.factory(instance)


def default_layers(attribute: Attribute[Any]) -> list[Node]:
    """A default that recipes can build on, as a layer: parts and tables. None for plain values."""
    default = default_of(attribute)
    if default is NOTHING or default is None:
        return []
    if part_kind(attribute) is None and not isinstance(default, Mapping) and not attrs.has(type(default)):
        return []
    return [_default_node(default)]


def _default_node(value: Any) -> Node:
    if isinstance(value, Part):
        return Node({"name": Node(value.name, DEFAULT), **_default_node(value.options).value}, DEFAULT)
    if attrs.has(type(value)):
        keys = {key_of(attribute): getattr(value, attribute.name) for attribute in recipe_fields(type(value))}
        return Node({key: _default_node(item) for key, item in keys.items()}, DEFAULT)
    if isinstance(value, Mapping):
        return Node({key: _default_node(item) for key, item in value.items()}, DEFAULT)
    if isinstance(value, list | tuple):
        return Node([_default_node(item) for item in value], DEFAULT)
    return Node(UNSET if value is None else toml_value(value), DEFAULT)
