"""Which layer wins, what naming another plugin drops, and where each value says it comes from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from neobert.recipe import Recipe

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]

PLAIN = '[dataset]\nname = "plain"\n'


def test_defaults_name_every_kind_but_dataset(load: Load) -> None:
    recipe = load(PLAIN)
    names = {path[0]: part.name for path, part in recipe.parts() if len(path) == 1}
    assert names == {
        "model": "neobert",
        "tokenizer": "train_wordpiece",
        "dataset": "plain",
        "datacollator": "mlm",
        "loss": "masked_lm",
        "optimizer": "adamw",
        "scheduler": "cosine",
        "checkpointer": "safetensors",
    }
    assert [tracker.name for tracker in recipe.trackers] == ["jsonl"]
    assert recipe.model.attn_backend.name == "sdpa"
    assert recipe.dataset.max_seq_length == 512
    assert recipe.model.distribution == "fakes"


def test_command_line_over_recipe_over_base_over_plugin(load: Load) -> None:
    far = PLAIN + "[optimizer]\nlr = 0.5\n[trainer]\nseed = 1\nmax_steps = 1\nsave_steps = 1\n"
    base = 'extends = "far.toml"\n[trainer]\nmax_steps = 2\nsave_steps = 2\n'
    recipe = load('extends = "base.toml"\n[trainer]\nsave_steps = 3\n', "--trainer.eval_steps=4", base=base, far=far)
    trainer = recipe.trainer
    assert (trainer.seed, trainer.max_steps, trainer.save_steps, trainer.eval_steps) == (1, 2, 3, 4)
    assert recipe.optimizer.lr == 0.5
    origins = recipe.origins
    assert origins["trainer.seed"] == "far.toml:6"
    assert origins["trainer.max_steps"] == "base.toml:3"
    assert origins["trainer.save_steps"] == "recipe.toml:3"
    assert origins["trainer.eval_steps"] == "command line"
    assert origins["optimizer.betas"] == "default"
    assert origins["dataset.name"] == "far.toml:2"
    assert set(origins) == set(recipe.flat())


def test_extends_is_relative_to_the_recipe_that_says_it(load: Load) -> None:
    Path("deep/er").mkdir(parents=True)
    Path("deep/base.toml").write_text(PLAIN)
    Path("deep/er/middle.toml").write_text('extends = "../base.toml"')
    assert load('extends = "deep/er/middle.toml"').origins["dataset.name"] == "deep/base.toml:2"


def test_naming_another_plugin_drops_own_options_and_keeps_served_ones(load: Load) -> None:
    base = '[dataset]\nname = "disk"\npath = "x"\nmax_seq_length = 99\n'
    recipe = load('extends = "base.toml"\n[dataset]\nname = "plain"\n', base=base)
    assert recipe.dataset.name == "plain"
    assert recipe.dataset.max_seq_length == 99
    assert "dataset.path" not in recipe.flat()


def test_naming_another_plugin_drops_a_key_that_both_have(load: Load) -> None:
    recipe = load('extends = "base.toml"\nmodel = "other"\n', base=PLAIN + "[model]\nhidden_size = 128\n")
    assert recipe.model.hidden_size == 32
    assert recipe.model.attn_backend.name == "flex"


def test_naming_the_same_plugin_keeps_its_options(load: Load) -> None:
    base = '[dataset]\nname = "disk"\npath = "x"\n'
    recipe = load('extends = "base.toml"\n[dataset]\nname = "disk"\n', base=base)
    assert recipe.dataset.path == "x"
    assert recipe.origins["dataset.name"] == "recipe.toml:3"


def test_there_and_back_drops_too(load: Load) -> None:
    far = '[dataset]\nname = "disk"\npath = "x"\ncolumns = { a = "b" }\n'
    base = 'extends = "far.toml"\n[dataset]\nname = "plain"\n'
    recipe = load('extends = "base.toml"\n[dataset]\nname = "disk"\npath = "y"\n', base=base, far=far)
    assert recipe.dataset.columns == {}


def test_a_table_without_name_takes_the_lower_layers_name(load: Load) -> None:
    recipe = load(PLAIN + "[model.attn_backend]\nname = 'flex'\n", "--model.attn_backend", "{block_size = 16}")
    assert (recipe.model.attn_backend.name, recipe.model.attn_backend.block_size) == ("flex", 16)


def test_options_below_the_first_name_belong_to_it(load: Load) -> None:
    recipe = load('extends = "base.toml"\n[dataset]\nname = "disk"\n', base='[dataset]\npath = "x"\n')
    assert recipe.dataset.path == "x"


def test_nested_parts_merge_with_their_owners_default(load: Load) -> None:
    text = PLAIN + '[model.attn_backend]\nname = "wrapping"\n[model.attn_backend.inner]\nmask = "m"\n'
    inner = load(text).model.attn_backend.inner
    assert (inner.name, inner.block_size, inner.mask) == ("flex", 32, "m")
    assert load(text, "--model.attn_backend.inner", "sdpa").model.attn_backend.inner.name == "sdpa"


def test_tuples_of_parts_are_replaced_whole_and_dicts_merge_by_key(load: Load) -> None:
    base = PLAIN + (
        '[model.attn_backend]\nname = "wrapping"\nstages = ["sdpa", "sdpa"]\n'
        'by_layer = { second = { name = "flex", block_size = 8 } }\n'
    )
    text = 'extends = "base.toml"\n[model.attn_backend]\nstages = [{ name = "flex", block_size = 9 }]\n'
    backend = load(text + "[model.attn_backend.by_layer.second]\nmask = 'm'\n", base=base).model.attn_backend
    assert [(stage.name, stage.block_size) for stage in backend.stages] == [("flex", 9)]
    assert {key: part.name for key, part in backend.by_layer.items()} == {"first": "sdpa", "second": "flex"}
    assert (backend.by_layer["second"].block_size, backend.by_layer["second"].mask) == (8, "m")


def test_plain_tables_merge_by_key_over_the_default(load: Load) -> None:
    recipe = load('[dataset]\nname = "everything"\ntable.two = 2\ninner.a = 7\n')
    assert recipe.dataset.table == {"one": 1, "two": 2}
    assert (recipe.dataset.inner.a, recipe.dataset.inner.b) == (7, None)


def test_trackers_are_a_list_replaced_whole(load: Load) -> None:
    recipe = load('extends = "base.toml"\ntrackers = [{ name = "board", every = 5 }]\n', base=PLAIN)
    assert [(tracker.name, tracker.every) for tracker in recipe.trackers] == [("board", 5)]
    assert load("trackers = []\n" + PLAIN).trackers == ()


def test_a_file_can_unset_what_its_base_sets(load: Load) -> None:
    base = PLAIN + "[trainer]\ngradient_clipping = 1.0\n"
    recipe = load('extends = "base.toml"\nunset = ["trainer.gradient_clipping"]\n', base=base)
    assert recipe.trainer.gradient_clipping is None
    assert recipe.origins["trainer.gradient_clipping"] == "recipe.toml:2"


def test_unset_of_a_key_that_is_not_optional_or_not_there(faults: Faults) -> None:
    found = faults('unset = ["trainer.max_steps", "trainer.no_such"]\n' + PLAIN)
    assert found["trainer.max_steps"] == ("recipe.toml:1: trainer.max_steps\n  cannot be unset; expected an int >= 1")
    assert "unknown key" in found["trainer.no_such"]
    assert "list of dotted keys" in faults("unset = 3\n" + PLAIN)["unset"]
