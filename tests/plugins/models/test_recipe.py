"""The model's tables in a recipe: read, checked, written and read again."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import frozen

from neobert import Capabilities, RecipeError
from neobert.capabilities import Target
from neobert.recipe import check_device, load_recipe
from neobert.registry import Plugin, Registry, Source, default_registry
from neobert_plugins.models.scaling import RopeScaling

BASE = """
[model]
hidden_size = 32
num_hidden_layers = 3
num_attention_heads = 2
max_position_embeddings = 256
global_every = 2
window = 16
[model.rope_scaling]
type = "yarn"
factor = 4
original_max_position_embeddings = 64
[dataset]
name = "stdlib"
max_seq_length = 256
"""


@frozen(kw_only=True)
class Blind:
    """A backend that has no window."""

    capabilities: ClassVar[Capabilities] = Capabilities(dropout=True)


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.toml").write_text(BASE)

    def make(*overrides, text='extends = "base.toml"\n', registry=None):
        (tmp_path / "recipe.toml").write_text(text)
        return load_recipe("recipe.toml", overrides, registry=registry)

    return make


def faults(load, *overrides, **more):
    with pytest.raises(RecipeError) as caught:
        load(*overrides, **more)
    return {problem.key: problem.message for problem in caught.value.problems}


def test_the_table_becomes_options_and_is_written_and_read_again(load):
    recipe = load()
    assert recipe.model.rope_scaling == RopeScaling(type="yarn", factor=4.0, original_max_position_embeddings=64)
    assert recipe.model.rope_scaling.factor == 4.0
    assert recipe.origins["model.rope_scaling.factor"] == "base.toml:11"
    again = load(text=recipe.to_toml())
    assert again == recipe
    assert "\nunset" not in recipe.to_toml()


def test_the_table_unset_is_written_and_read_again(load):
    recipe = load("--model.rope_scaling=none")
    assert recipe.model.rope_scaling is None
    assert load(text=recipe.to_toml()) == recipe
    assert load(text='unset = ["model.rope_scaling"]\nextends = "base.toml"\n') == recipe


def test_one_key_of_the_table_may_be_changed(load):
    assert load("--model.rope_scaling.factor=8").model.rope_scaling.factor == 8.0
    changed = load('--model.rope_scaling={type = "ntk"}').model.rope_scaling
    assert (changed.type, changed.factor) == ("ntk", 4.0)


def test_faults_are_told_by_key(load):
    found = faults(
        load,
        "--model.rope_scaling.factor=1",
        "--model.rope_scaling.type=dynamic",
        "--model.rope_scaling.mscale=1.0",
        "--model.window=0",
        "--model.global_every=1",
    )
    assert found["model.rope_scaling.factor"] == "expected a float > 1.0"
    assert found["model.rope_scaling.type"].startswith('expected one of "linear", "ntk", "yarn"')
    assert found["model.rope_scaling.mscale"].startswith("unknown key")
    assert found["model.window"] == "expected an int >= 1"
    assert found["model.global_every"] == "expected an int >= 2"
    missing = faults(load, text='[model]\nrope_scaling = { type = "linear" }\n[dataset]\nname = "stdlib"\n')
    assert set(missing) == {"model.rope_scaling.factor", "model.rope_scaling.original_max_position_embeddings"}


def test_objections_stand_at_their_key(load):
    overrides = ("--model.window=none", "--model.rope_scaling.type=linear", "--model.rope_scaling.beta_fast=3.0")
    found = faults(load, *overrides, "--model.max_position_embeddings=512")
    assert found["model.global_every"].startswith("has no effect without model.window")
    assert found["model.rope_scaling.beta_fast"] == 'has no effect: only type = "yarn" has it'
    assert found["model.rope_scaling.factor"].startswith("4 x 64 trained positions reach 256")


@pytest.mark.parametrize("windows", [True, False])
def test_a_backend_without_a_window_is_refused_where_a_block_has_one(load, windows):
    source = Source("fakes", "1.0", "fakes")
    registry = Registry.of([*default_registry().plugins, Plugin("attn_backend", "blind", Blind, source)])
    off = () if windows else ("--model.window=none", "--model.global_every=none")
    recipe = load("--model.attn_backend=blind", *off, registry=registry)
    found = [str(problem) for problem in check_device(recipe, Target(device="cpu"), registry)]
    if not windows:
        assert found == []
        return
    (problem,) = found
    assert "has no window, and the model's is 16" in problem
    assert "name one that can do this here: auto, eager, sdpa" in problem
