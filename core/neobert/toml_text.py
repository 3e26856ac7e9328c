"""Values of recipes as TOML has them: plain values, and their text on one line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import attrs
from attrs import Attribute

from neobert.parts import Part


def toml_text(value: Any) -> str:
    """The value as it would stand on the right of a key; tables as inline tables."""
    text: str = toml_item(value).as_string()
    return text


def toml_item(value: Any) -> Any:
    """The value as a tomlkit item that stays on one line."""
    import tomlkit

    value = toml_value(value)
    if isinstance(value, dict):
        table = tomlkit.inline_table()
        for key, item in value.items():
            table.append(key, toml_item(item))
        return table
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for item in value:
            array.append(toml_item(item))
        return array
    return tomlkit.item(value)


def recipe_fields(cls: type) -> Iterator[Attribute[Any]]:
    """The fields that a recipe can set, in their order."""
    return (attribute for attribute in attrs.fields(cls) if attribute.init)


def key_of(attribute: Attribute[Any]) -> str:
    """The key of a field in a recipe: the name that its class takes it under."""
    return attribute.alias or attribute.name


def toml_value(value: Any) -> Any:
    """A field's value as TOML has it; tables in lists too. None stays None, and is left out of tables."""
    if isinstance(value, Part):
        return {"name": value.name, **(toml_value(value.served) or {}), **toml_value(value.options)}
    if attrs.has(type(value)):
        keys = ((key_of(attribute), getattr(value, attribute.name)) for attribute in recipe_fields(type(value)))
        return {key: toml_value(item) for key, item in keys if item is not None}
    if isinstance(value, Mapping):
        return {key: toml_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [toml_value(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.value if isinstance(value, Enum) else value
