"""The command line: what a token means depends on its key's type, and order never matters."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from neobert.recipe import TABLES, Recipe, is_override

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]

EVERYTHING = '[dataset]\nname = "everything"\n'


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("number", "7", 7),
        ("rate", "1e-4", 1e-4),
        ("rate", "2", 2.0),
        ("flag", "true", True),
        ("text", "word", "word"),
        ("text", "2024", "2024"),
        ("text", "1e5", "1e5"),
        ("text", "true", "true"),
        ("text", '"quoted"', "quoted"),
        ("text", "'quoted'", "quoted"),
        ("text", '"none"', "none"),
        ("text", '"half', '"half'),
        ("text", "a = b", "a = b"),
        ("text", "[1]", "[1]"),
        ("text", "", ""),
        ("text", "1\nnumber = 2", "1\nnumber = 2"),
        ("choice", "2", "2"),
        ("choice", "yes", "yes"),
        ("mixed", "1", 1),
        ("mixed", "a", "a"),
        ("either", "12", 12),
        ("either", "latest", "latest"),
        ("either", "true", "true"),
        ("either", '"12"', "12"),
        ("either", "none", None),
        ("maybe_five", "none", None),
        ("betas", "[0.5, 1]", (0.5, 1.0)),
        ("names", '["a"]', ("a",)),
        ("colour", "blue", "blue"),
        ("folder", "1e5", "1e5"),
        ("table.three", "3", 3),
        ("table", "{ two = 2 }", {"one": 1, "two": 2}),
        ("inner.a", "9", 9),
        ("inners", "[{ a = 4 }]", ({"a": 4, "b": "b"},)),
        ("maybe_inner", "{ a = 3 }", {"a": 3, "b": "b"}),
    ],
)
@pytest.mark.parametrize("joined", [True, False])
def test_values_by_type(load: Load, key: str, raw: str, value: Any, joined: bool) -> None:
    tokens = [f"--dataset.{key}={raw}"] if joined else [f"--dataset.{key}", raw]
    recipe = load(EVERYTHING, *tokens)
    found = recipe.flat()
    here = {name: item for name, item in found.items() if name.startswith(f"dataset.{key}")}
    if isinstance(value, dict):
        assert here == {f"dataset.{key}.{name}": item for name, item in value.items()}
    elif value and isinstance(value, tuple) and isinstance(value[0], dict):
        assert here == {f"dataset.{key}.0.{name}": item for name, item in value[0].items()}
    else:
        wanted = list(value) if isinstance(value, tuple) else value
        assert found[f"dataset.{key}"] == wanted
        assert type(found[f"dataset.{key}"]) is type(wanted)
        assert recipe.origins[f"dataset.{key}"] == "command line"


@pytest.mark.parametrize(
    ("key", "raw", "expected"),
    [
        ("number", "3.7", "expected an int >= 1"),
        ("number", "0", "expected an int >= 1"),
        ("number", "none", "cannot be unset; expected an int >= 1"),
        ("rate", ".5", "expected a float > 0.0"),
        ("rate", '"1e-4"', "expected a float > 0.0"),
        ("rate", "nan", "expected a finite float > 0.0"),
        ("flag", "False", "expected true or false"),
        ("flag", "1", "expected true or false"),
        ("text", "none", "cannot be unset; expected a string"),
        ("choice", "maybe", 'expected one of "no", "yes", "2"'),
        ("betas", "0.9", "expected a list of 2 items: a float, a float"),
        ("betas", "[0.9,", "expected a list of 2 items: a float, a float"),
        ("betas.0", "0.9", "expected a list of 2 items: a float, a float"),
        ("names", "a", "expected a list of strings"),
        ("table", "3", "expected a table"),
    ],
)
def test_what_a_type_does_not_take(faults: Faults, key: str, raw: str, expected: str) -> None:
    found = faults(EVERYTHING, f"--dataset.{key}", raw)
    assert list(found) == [f"dataset.{key.removesuffix('.0')}"]
    (text,) = found.values()
    assert text.startswith("command line: dataset.")
    assert expected in text


def test_order_of_overrides_never_matters(load: Load) -> None:
    tokens = [
        "--model.attn_backend.block_size=8",
        "--model.attn_backend=flex",
        "--model.hidden_size=16",
        "--model=other",
    ]
    recipes = [load(EVERYTHING, *some) for some in itertools.permutations(tokens)]
    assert len({recipe.to_toml() for recipe in recipes}) == 1
    model = recipes[0].model
    assert (model.name, model.hidden_size, model.attn_backend.name, model.attn_backend.block_size) == (
        "other",
        16,
        "flex",
        8,
    )


def test_a_name_key_counts_as_the_whole_part(load: Load) -> None:
    assert load(EVERYTHING, "--loss.chunk", "3", "--loss.name", "chunked").loss.chunk == 3


def test_whole_parts(load: Load) -> None:
    recipe = load(
        EVERYTHING, "--loss", "full_logits_lm", "--model.attn_backend", '{name = "flex", block_size = 128}',
        "--trackers", '["jsonl", {name = "board"}]', "--trackers.1.every", "4",
    )  # fmt: skip
    assert recipe.loss.name == "full_logits_lm"
    assert recipe.model.attn_backend.block_size == 128
    assert recipe.trackers[1].every == 4
    assert recipe.origins["trackers.1.every"] == "command line"


def test_a_whole_table_merges_into_the_same_plugin(load: Load) -> None:
    text = EVERYTHING + '[loss]\nname = "chunked"\nchunk = 5\n'
    assert load(text, "--loss", '{name = "chunked"}').loss.chunk == 5
    assert load(text, "--loss", "chunked").loss.chunk == 5
    assert load(text, "--loss", "{chunk = 6}").loss.chunk == 6


def test_contradictions_are_reported_and_repetitions_are_not(load: Load, faults: Faults) -> None:
    assert load(EVERYTHING, "--trainer.seed=1", "--trainer.seed", "1").trainer.seed == 1
    found = faults(EVERYTHING, "--trainer.seed=1", "--trainer.seed=2")
    assert found["trainer.seed"].endswith("given twice with different values: --trainer.seed 1 and --trainer.seed 2")
    assert "given twice" in faults(EVERYTHING, "--loss=chunked", "--loss.name=masked_lm")["loss.name"]


def test_faults_of_form(faults: Faults) -> None:
    found = faults(EVERYTHING, "stray", "--trainer.max_steps", "--trainer={seed = 1}", "--trainer..x=1")
    assert "expected --table.key VALUE" in found["stray"]
    assert "expected a value" in found["trainer.max_steps"]
    assert "one by one: --trainer.max_steps 2000" in found["trainer"]
    assert "expected --table.key VALUE" in found["--trainer..x=1"]


def test_unknown_keys_are_told_the_nearest(faults: Faults) -> None:
    found = faults(EVERYTHING, "--trainer.max_stpes", "5", "--trianer.seed=1", "--trackers.7.every=1", "--loss.seed=1")
    assert found["trainer.max_stpes"] == (
        'command line: trainer.max_stpes = 5\n  unknown key; did you mean "max_steps"?'
    )
    assert 'unknown table; did you mean "trainer"?' in found["trianer"]
    assert "there is no item 7: the list has 1" in found["trackers.7"]
    assert "trainer.seed" in found["loss.seed"]


def test_parts_cannot_be_unset(faults: Faults) -> None:
    assert "cannot be unset" in faults(EVERYTHING, "--loss=none")["loss"]
    assert "expected a list of tracker parts" in faults(EVERYTHING, "--trackers=jsonl")["trackers"]


@pytest.mark.parametrize("token", ["--trainer.max_steps", "--a.b=c", *(f"--{table}" for table in TABLES), "--loss=x"])
def test_overrides_are_dotted_or_tables(token: str) -> None:
    assert is_override(token)


@pytest.mark.parametrize("token", ["--check", "--json", "recipe.toml", "-v", "trainer.seed", "--out=a.b", "--extends"])
def test_other_tokens_are_not(token: str) -> None:
    assert not is_override(token)
