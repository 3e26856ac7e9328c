"""The tables of a recipe that uses data tokenized ahead of time."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import tomlkit

from neobert.toml_text import toml_item


def tokenized_tables(dataset: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> str:
    """``[dataset]`` and ``[tokenizer]`` with these keys, ready to stand in a recipe; None is left out."""
    template = tomlkit.parse(files("neobert.recipe").joinpath("tokenized.toml").read_text(encoding="utf-8"))
    document = tomlkit.document()
    for name, keys in (("dataset", dataset), ("tokenizer", tokenizer)):
        table = tomlkit.table()
        table.add("name", str(template[name]["name"]))
        for key, value in keys.items():
            if value is not None:
                table.add(key, toml_item(value))
        document.add(name, table)
    return tomlkit.dumps(document)
