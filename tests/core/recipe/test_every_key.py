"""Every key that a shipped recipe has, renamed, mistyped or put elsewhere, is refused by its dotted name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli

from neobert.errors import RecipeError
from neobert.recipe import load_recipe
from neobert.recipe.nodes import Key, dotted
from neobert.registry import Registry, default_registry
from neobert.toml_text import toml_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
SHIPPED = sorted((ROOT / "recipes").glob("**/*.toml"))
FIXTURE = """
trackers = ["jsonl", { name = "board", folder = "b", every = 2 }]
model.hidden_size = 32
model.attn_backend = { name = "wrapping", inner = { name = "flex", block_size = 16 } }
[dataset]
name = "everything"
max_seq_length = 64
text = "x"
number = 2
rate = 0.5
flag = true
choice = "yes"
maybe = 1
either = "latest"
names = ["n"]
betas = [0.1, 0.2]
inner = { a = 1, b = "c" }
folder = "f"
[datacollator]
pack_sequences = true
mlm_probability = 0.3
[optimizer]
name = "adamw"
lr = 1.0
[trainer]
seed = 1
gradient_clipping = 1.0
mixed_precision = "bf16"
allow_changes = ["model"]
"""


def keys_of(tree: dict[str, Any], path: Key = ()) -> Iterator[Key]:
    for key, value in tree.items():
        if not path and key == "extends":
            continue
        yield (*path, key)
        if isinstance(value, dict):
            yield from keys_of(value, (*path, key))
        if isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from keys_of(item, (*path, key, index))


def holder_of(tree: dict[str, Any], path: Key) -> Any:
    place: Any = tree
    for part in path[:-1]:
        place = place[part]
    return place


def written(tree: dict[str, Any]) -> str:
    return "".join(f"{toml_text(key)} = {toml_text(value)}\n" for key, value in tree.items())


def refused(tree: dict[str, Any], beside: Path, registry: Registry) -> dict[str, str]:
    """The problems of the tree, written next to the recipe so that what it extends is found."""
    path = beside.with_name(".changed.toml")
    path.write_text(written(tree), encoding="utf-8")
    try:
        with pytest.raises(RecipeError) as caught:
            load_recipe(path, registry=registry)
    finally:
        path.unlink()
    return {problem.key: str(problem) for problem in caught.value.problems}


def cases(tmp_path: Path, registry: Registry) -> Iterator[tuple[Path, dict[str, Any], Registry]]:
    fixture = tmp_path / "fixture.toml"
    fixture.write_text(FIXTURE, encoding="utf-8")
    yield fixture, tomli.loads(FIXTURE), registry
    for number, recipe in enumerate(SHIPPED):
        folder = tmp_path / str(number) / recipe.parent.relative_to(ROOT)
        for other in SHIPPED:
            there = tmp_path / str(number) / other.relative_to(ROOT)
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(other.read_bytes())
        yield folder / recipe.name, tomli.loads(recipe.read_text(encoding="utf-8")), default_registry()


def every_key(tmp_path: Path, registry: Registry) -> Iterator[tuple[Path, dict[str, Any], Key, Registry]]:
    """Of many recipes alike, or sources alike in one, each key once."""
    seen = set()
    for path, tree, plugins in cases(tmp_path, registry):
        load_recipe(path, registry=plugins)
        for key in keys_of(tree):
            if (alike := likeness(tree, key)) not in seen:
                seen.add(alike)
                yield path, copy.deepcopy(tree), key, plugins


def likeness(tree: dict[str, Any], key: Key) -> tuple[Any, ...]:
    """The key without names that a recipe gives itself, the plugin whose key it is, and the type of its value."""
    given = ("sources", "select", "weights", "objectives", "role_columns", "role_prefixes")
    plain = tuple("*" if before in given else part for before, part in zip(("", *key), key, strict=False))
    holder = holder_of(tree, key)
    return plain, str(holder.get("name")), type(holder[key[-1]])


def test_renamed(tmp_path: Path, registry: Registry) -> None:
    for path, tree, key, plugins in every_key(tmp_path, registry):
        holder = holder_of(tree, key)
        last = str(key[-1])
        renamed = (*key[:-1], f"{last}x")
        holder[f"{last}x"] = holder.pop(last)
        found = refused(tree, path, plugins)
        if key[:2] == ("dataset", "sources") and len(key) == 3:
            # A name that the recipe gives itself: whatever goes by it is told the new one.
            tables = [table for table in ("weights", "select") if last in tree["dataset"].get(table, {})]
            expected = {f"dataset.{table}.{last}" for table in tables}
            assert {name for name, text in found.items() if f'did you mean "{last}x"?' in text} == expected
            continue
        assert dotted(renamed) in found, (path.name, key, found)
        # Roles are a collator's own names, and told by what it takes: tests of roles look at those.
        if last != "name" and not {"role_columns", "role_prefixes"} & set(key):
            assert f'did you mean "{last}"?' in found[dotted(renamed)]


def test_mistyped(tmp_path: Path, registry: Registry) -> None:
    for path, tree, key, plugins in every_key(tmp_path, registry):
        holder = holder_of(tree, key)
        was = holder[key[-1]]
        wrong: list[Any] = (
            [[[]]] if isinstance(was, list) else [["no such value"], 3.7 if isinstance(was, str) else "1e-4"]
        )
        for value in wrong:
            holder[key[-1]] = value
            found = refused(tree, path, plugins)
            assert any(name == dotted(key) or name.startswith(f"{dotted(key)}.") for name in found), (
                key,
                value,
                found,
            )


def test_misplaced(tmp_path: Path, registry: Registry) -> None:
    for path, tree, key, plugins in every_key(tmp_path, registry):
        if key[-1] == "name":
            continue
        value = holder_of(tree, key).pop(key[-1])
        home = "checkpointer" if key[0] != "checkpointer" else "scheduler"
        table = tree.setdefault(home, {})
        if isinstance(table, str):
            table = tree[home] = {"name": table}
        table[key[-1]] = value
        found = refused(tree, path, plugins)
        assert f"{home}.{key[-1]}" in found, (path.name, key, found)
