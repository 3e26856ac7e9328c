"""The tables of a recipe that uses data tokenized ahead of time."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import tomlkit

from neobert.recipe.objectives import TABLE
from neobert.toml_text import toml_item


def tokenized_tables(datasets: Mapping[str, Mapping[str, Any]], tokenizer: Mapping[str, Any]) -> str:
    """``[dataset]``, or that of each objective by its name, and ``[tokenizer]`` with these keys, ready to stand in a
    recipe; None is left out."""
    template = tomlkit.parse(files("neobert.recipe").joinpath("tokenized.toml").read_text(encoding="utf-8"))
    document = tomlkit.document()
    objectives = tomlkit.table(is_super_table=True)
    for name, keys in datasets.items():
        table = _table(str(template["dataset"]["name"]), keys)
        if name:
            objectives.add(name, tomlkit.table(is_super_table=True).add("dataset", table))
        else:
            document.add("dataset", table)
    if len(objectives):
        document.add(TABLE, objectives)
    document.add("tokenizer", _table(str(template["tokenizer"]["name"]), tokenizer))
    return tomlkit.dumps(document)


def _table(plugin: str, keys: Mapping[str, Any]) -> Any:
    table = tomlkit.table()
    table.add("name", plugin)
    for key, value in keys.items():
        if value is not None:
            table.add(key, toml_item(value))
    return table
