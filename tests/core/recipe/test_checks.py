"""What cannot work together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neobert.recipe import Recipe
from neobert.recipe.checks import _located

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]

PLAIN = '[dataset]\nname = "plain"\n'


def test_a_parts_own_check_is_told_at_the_key_that_it_names(faults: Faults) -> None:
    assert faults(PLAIN + "[model]\nhidden_size = 65\n") == {
        "model.hidden_size": "recipe.toml:4: model.hidden_size = 65\n  4 heads do not divide it"
    }


@pytest.mark.parametrize(
    ("said", "key", "message"),
    [
        ("num_heads: too many", "model.num_heads", "too many"),
        ("num_heads = 4 is too many", "model.num_heads", "num_heads = 4 is too many"),
        ("model: num_heads is too many", "model.num_heads", "num_heads is too many"),
        ("model.num_heads is too many", "model.num_heads", "model.num_heads is too many"),
        ("trainer.seed: is odd", "trainer.seed", "is odd"),
        ("too many heads", "model.name", "too many heads"),
        ("", "model.name", ""),
        ("trainer is odd", "model.name", "trainer is odd"),
    ],
)
def test_where_an_objection_is_told(load: Load, said: str, key: str, message: str) -> None:
    assert _located(said, ("model",), load(PLAIN).flat()) == (key, message)


def test_checks_of_the_core_come_in_one_answer(faults: Faults) -> None:
    found = faults(
        PLAIN + 'eval_split = "test"\nvalidation_split = 0.1\n[datacollator]\npack_sequences = true\n'
        'group_by_length = true\n[model]\nhidden_size = 66\n[trainer]\nallow_changes = ["modle"]\n'
    )
    assert set(found) == {
        "dataset.validation_split",
        "datacollator.group_by_length",
        "model.hidden_size",
        "trainer.allow_changes",
    }
    assert found["dataset.validation_split"].startswith("recipe.toml:4: ")


def test_two_sizes_for_what_is_reserved(faults: Faults, load: Load) -> None:
    assert "eval_samples" in faults(PLAIN + "eval_samples = 5\nvalidation_split = 0.1\n")["dataset.validation_split"]
    load(PLAIN + 'eval_samples = 5\neval_split = "test"\n')


@pytest.mark.parametrize(("key", "value"), [("prefetch_factor", "4"), ("persistent_workers", "true")])
def test_what_workers_should_do_where_there_are_none(faults: Faults, load: Load, key: str, value: str) -> None:
    found = faults(PLAIN + f"num_workers = 0\n{key} = {value}\n")
    assert f"dataset.{key} = {value}\n  contradicts dataset.num_workers = 0" in found[f"dataset.{key}"]
    load(PLAIN + f"{key} = {value}\n")
    load(PLAIN + f"num_workers = 2\n{key} = {value}\n")


@pytest.mark.parametrize("name", ["batch_size_warmup", "length_warmup"])
def test_where_a_warm_up_begins_without_one(faults: Faults, load: Load, name: str) -> None:
    found = faults(PLAIN + f"[trainer]\n{name}_start = 5\n")[f"trainer.{name}_start"]
    assert f"has no effect: trainer.{name}_steps is unset; set that too" in found
    load(PLAIN + f"[trainer]\n{name}_start = 5\n{name}_steps = 9\ngradient_accumulation_steps = 6\n")


@pytest.mark.parametrize(
    ("lines", "key", "said"),
    [
        ("batch_size_warmup_steps = 9\n", "batch_size_warmup_steps", "it starts at 1 unless"),
        (
            "batch_size_warmup_steps = 9\nbatch_size_warmup_start = 5\ngradient_accumulation_steps = 4\n",
            "batch_size_warmup_start",
            "nothing grows: trainer.gradient_accumulation_steps, where it ends, is 4",
        ),
        ("length_warmup_steps = 9\n", "length_warmup_steps", "it starts at 128 unless trainer.length_warmup_start"),
        (
            "length_warmup_steps = 9\nlength_warmup_start = 128\n",
            "length_warmup_start",
            "nothing grows: dataset.max_seq_length, where it ends, is 128; start under that",
        ),
    ],
)
def test_warm_ups_in_which_nothing_grows(faults: Faults, lines: str, key: str, said: str) -> None:
    found = faults(PLAIN + f"max_seq_length = 128\n[trainer]\n{lines}")
    assert set(found) == {f"trainer.{key}"}
    assert said in found[f"trainer.{key}"]


@pytest.mark.parametrize(
    ("key", "value", "needed"),
    [
        ("torch_compile_backend", '"eager"', "torch_compile"),
        ("torch_compile_dynamic", "false", "torch_compile"),
        ("gradient_checkpointing_every", "2", "gradient_checkpointing"),
    ],
)
def test_keys_that_do_nothing_without_another(faults: Faults, load: Load, key: str, value: str, needed: str) -> None:
    found = faults(PLAIN + f"[trainer]\n{key} = {value}\n")[f"trainer.{key}"]
    assert f"trainer.{key} = {value}\n  has no effect: trainer.{needed} is false" in found
    load(PLAIN + f"[trainer]\n{needed} = true\n{key} = {value}\n")


@pytest.mark.parametrize(
    ("table", "key", "said"),
    [
        ("guard.window = 50", "trainer.guard.window", "has no effect: trainer.guard.threshold is unset"),
        ("guard.limit = 2", "trainer.guard.limit", 'has no effect: trainer.guard.action is "stop"'),
        ('guard.action = "rollback"', "trainer.guard.action", "trainer.save_steps, which is unset"),
        ('guard.action = "ignore"', "trainer.guard.action", 'one of "stop", "skip", "rollback"'),
        ("guard.threshold = inf", "trainer.guard.threshold", "expected a finite float > 0.0"),
        ("guard.window = 9\nguard.threshold = 6.0", "trainer.guard.window", "expected an int >= 10"),
        ('guard = "skip"', "trainer.guard", "expected a table"),
        ('guard.acton = "skip"', "trainer.guard.acton", 'did you mean "action"?'),
        ("ema = 0.99", "trainer.ema", "expected a table"),
        ("ema.decay = 1.0", "trainer.ema.decay", "expected a float < 1.0"),
        ('on_nonfinite_gradient = "skip"', "trainer.on_nonfinite_gradient", "now: `trainer.guard.action`"),
    ],
)
def test_the_guard_and_the_average(faults: Faults, table: str, key: str, said: str) -> None:
    found = faults(f"{PLAIN}[trainer]\n{table}\n")
    assert list(found) == [key]
    assert said in found[key]


def test_what_the_guard_takes(load: Load) -> None:
    recipe = load(f"{PLAIN}[trainer]\nsave_steps = 5\n[trainer.guard]\naction = 'rollback'\nthreshold = 6\n")
    guard = recipe.trainer.guard
    assert (guard.threshold, guard.steps_kept, guard.in_a_row) == (6.0, 100, 5)
    assert load(PLAIN).trainer.ema is None
    assert (load(PLAIN).trainer.guard.steps_kept, load(PLAIN).trainer.guard.in_a_row) == (0, 0)
    ema = load(f"{PLAIN}[trainer]\nema = {{}}\n").trainer.ema
    assert ema is not None
    assert (ema.decay, ema.warmup) == (0.999, True)


def test_candidates_without_queries(faults: Faults) -> None:
    found = faults(PLAIN + "[trainer]\neval_train_candidates = 100\n")
    assert "datacollator" in found["trainer.eval_train_candidates"]
    assert "queries and positives" in found["trainer.eval_train_candidates"]
