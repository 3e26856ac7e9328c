"""Python values as the text that TOML has for them, on one line."""

from __future__ import annotations

from typing import Any

from neobert.recipe.fields import toml_value


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
