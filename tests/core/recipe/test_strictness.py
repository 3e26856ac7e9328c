"""No coercion, no unknown key, and all faults of a recipe in one answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from neobert.errors import RecipeError
from neobert.recipe import Recipe

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]

EVERYTHING = '[dataset]\nname = "everything"\n'
PLAIN = '[dataset]\nname = "plain"\n'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('rate = "1e-4"', "expected a float > 0.0"),
        ("rate = true", "expected a float > 0.0"),
        ("rate = nan", "expected a finite float"),
        ("rate = inf", "expected a finite float"),
        (f"rate = 1{'0' * 400}", "too large"),
        ("rate = 0", "expected a float > 0.0"),
        ("number = 3.0", "expected an int >= 1"),
        ("number = true", "expected an int >= 1"),
        ('number = "3"', "expected an int >= 1"),
        ("number = 0", "expected an int >= 1"),
        ("maybe = 1.5", "expected an int"),
        ("maybe = false", "expected an int"),
        ('flag = "false"', "expected true or false"),
        ("flag = 0", "expected true or false"),
        ("text = 3", "expected a string"),
        ("text = 1979-05-27", "expected a string"),
        ("choice = 2", 'expected one of "no", "yes", "2"'),
        ("choice = false", 'expected one of "no", "yes", "2"'),
        ("mixed = true", 'expected one of "a", 1'),
        ("mixed = 1.0", 'expected one of "a", 1'),
        ("either = 1.5", "expected a string or an int"),
        ("either = true", "expected a string or an int"),
        ('names = "a"', "expected a list of strings"),
        ('names = ["a", 1]', "item 1 is 1: expected a string"),
        ("items = [true]", "item 0 is true: expected an int"),
        ("betas = [0.9]", "expected a list of 2 items: a float, a float; it has 1"),
        ("betas = [0.9, nan]", "expected a finite float"),
        ("inner = 3", "expected a table"),
        ("inners = [3]", "expected a table"),
        ("inners = 3", "expected a list"),
        ("maybe_inner = 3", "expected a table"),
        ("table = 3", "expected a table"),
        ("folder = 3", "expected a path, as a string"),
        ('colour = "green"', 'expected one of "red", "blue"'),
        ('picked = "c"', 'expected one of "a", "b"'),
    ],
)
def test_one_wrong_value(faults: Faults, line: str, expected: str) -> None:
    found = faults(EVERYTHING + line)
    assert len(found) == 1
    (text,) = found.values()
    head, message = text.split("\n", 1)
    key, value = line.split(" = ")
    assert head.startswith(f"recipe.toml:3: dataset.{key}")
    assert expected in message
    if "[3]" not in line:
        assert value[:8] in head


@pytest.mark.parametrize(
    ("line", "key", "expected"),
    [
        ("table.x = 1.5", "dataset.table.x", "expected an int"),
        ("inner.a = 1.5", "dataset.inner.a", "expected an int"),
        ("inner.c = 1", "dataset.inner.c", "unknown key"),
        ("inners = [{ a = 1 }, { a = '1' }]", "dataset.inners.1.a", "expected an int"),
        ("inner_by_name.q.a = 1.5", "dataset.inner_by_name.q.a", "expected an int"),
        ("inner_by_name.q.z = 1", "dataset.inner_by_name.q.z", "unknown key"),
    ],
)
def test_faults_in_tables_inside_tables(faults: Faults, line: str, key: str, expected: str) -> None:
    found = faults(EVERYTHING + line)
    assert list(found) == [key]
    assert expected in found[key]


def test_an_int_stands_for_a_float(load: Load) -> None:
    dataset = load(EVERYTHING + "rate = 2\nbetas = [0, 1]\nanything = inf\n").dataset
    assert [type(value) for value in (dataset.rate, *dataset.betas)] == [float, float, float]
    assert dataset.anything == float("inf")


def test_a_post_init_error_is_told_at_the_table(faults: Faults) -> None:
    assert faults(EVERYTHING + "number = 13") == {
        "dataset": 'recipe.toml:2: dataset = "everything"\n  13 and this dataset do not go together'
    }


def test_own_validators_speak_for_their_fields(faults: Faults) -> None:
    found = faults('[dataset]\nname = "sharded"\nshards = 3\nlimit = 1\n')
    assert found["dataset.shards"].endswith("an even number of shards is wanted, got 3")
    assert found["dataset.limit"].endswith("limit 1 is below shards")
    both = faults('[dataset]\nname = "sharded"\nshards = "x"\nlimit = 1\n')
    assert list(both) == ["dataset.shards"]


def test_a_required_key_is_missing(faults: Faults) -> None:
    assert faults('[dataset]\nname = "disk"\n') == {
        "dataset.path": "recipe.toml:2: dataset.path\n  missing: expected a string (the folder)"
    }


def test_no_dataset_lists_the_datasets(faults: Faults) -> None:
    (text,) = faults("").values()
    assert (
        text == "recipe.toml: dataset.name\n  missing: no dataset is named\n"
        "  available: disk, everything, plain, sharded"
    )
    assert faults("[dataset]\nmax_seq_length = 9\n")["dataset.name"].startswith("recipe.toml:1: ")


def test_the_sample_of_the_design(faults: Faults) -> None:
    assert faults(PLAIN + '[model]\nattn_backend = "spda"\n') == {
        "model.attn_backend": (
            'recipe.toml:4: model.attn_backend = "spda"\n'
            '  unknown attn_backend; did you mean "sdpa"?\n'
            "  available: eager, flex, sdpa, wrapping    "
            "here but not usable: varlen (needs a-package-that-is-not-there>=2.7)"
        )
    }


def test_unusable_and_broken_plugins(faults: Faults) -> None:
    found = faults(PLAIN + '[model.attn_backend]\nname = "varlen"\nblok_size = 1\n[loss]\nname = "broken_loss"\n')
    assert 'pip install "a-package-that-is-not-there>=2.7"' in found["model.attn_backend.name"]
    assert 'did you mean "block_size"' in found["model.attn_backend.blok_size"]
    assert "it does not import" in found["loss.name"]


def test_misplaced_keys_are_told_where_they_belong(faults: Faults) -> None:
    found = faults(
        "lr = 1\n" + PLAIN + "mlm_probability = 0.1\n[trainer]\nblock_size = 1\n[model.attn_backend]\nblock_size = 2\n"
        "[loss]\nmax_steps = 3\n[attn_backend]\nname = 'sdpa'\n"
    )
    assert "there is such a key elsewhere: optimizer.lr" in found["lr"]
    assert "there is such a key elsewhere: datacollator.mlm_probability" in found["dataset.mlm_probability"]
    assert "there is such a key elsewhere: trainer.max_steps" in found["loss.max_steps"]
    assert 'attn_backend "sdpa" does not take it; these do: flex, varlen' in found["model.attn_backend.block_size"]
    assert "model.attn_backend" in found["attn_backend"]
    assert "unknown key" in found["trainer.block_size"]


def test_served_keys_are_the_top_tables_own(faults: Faults) -> None:
    found = faults(PLAIN + "[model.attn_backend]\nweights = 'x'\n")
    assert "model.weights" in found["model.attn_backend.weights"]


def test_keys_of_the_published_tool_are_told_their_place(faults: Faults) -> None:
    found = faults(
        "use_deepspeed = true\n"
        + PLAIN
        + "[trainer]\nmasked_logits_only_loss = true\n[contrastive]\ntemperature = 0.1\n"
    )
    assert set(found) == {"use_deepspeed", "trainer.masked_logits_only_loss", "contrastive.temperature"}
    assert "loss.name" in found["trainer.masked_logits_only_loss"]
    assert found["contrastive.temperature"].startswith("recipe.toml:7: contrastive.temperature = 0.1\n")


def test_fp16_is_refused_with_the_reason(faults: Faults) -> None:
    text = faults(PLAIN + '[trainer]\nmixed_precision = "fp16"\n')["trainer.mixed_precision"]
    assert 'expected one of "no", "fp32", "bf16"' in text
    assert "loss scaling" in text


def test_all_faults_in_one_answer_in_the_order_of_files_and_lines(load: Load) -> None:
    base = '[dataset]\nname = "plain"\nmax_seq_length = 1\nnum_workers = "2"\n'
    text = (
        'extends = "base.toml"\ncolour = 1\n[loss]\nname = "masked_ml"\n[trainer]\nmax_step = 1\nseed = "x"\n'
        "mlm_probability = 0.1\n[optimizer]\nlr = 0\nbetas = [1]\n"
    )
    with pytest.raises(RecipeError) as caught:
        load(text, "--trainer.save_steps=0", "--loss.chunk", base=base)
    assert [(problem.where, problem.key) for problem in caught.value.problems] == [
        ("base.toml:3", "dataset.max_seq_length"),
        ("base.toml:4", "dataset.num_workers"),
        ("recipe.toml:2", "colour"),
        ("recipe.toml:4", "loss.name"),
        ("recipe.toml:6", "trainer.max_step"),
        ("recipe.toml:7", "trainer.seed"),
        ("recipe.toml:8", "trainer.mlm_probability"),
        ("recipe.toml:10", "optimizer.lr"),
        ("recipe.toml:11", "optimizer.betas"),
        ("command line", "loss.chunk"),
        ("command line", "trainer.save_steps"),
    ]


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("model = 3\n" + PLAIN, "model", "expected the name of a plugin, or a table"),
        (PLAIN + "[model]\nname = 3\n", "model.name", "expected the name of a plugin, as a string"),
        ("trainer = 'x'\n" + PLAIN, "trainer", "expected a table"),
        ("trackers = 'jsonl'\n" + PLAIN, "trackers", "expected a list of tracker parts"),
        ("trackers = [3]\n" + PLAIN, "trackers.0", "expected the name of a plugin, or a table"),
        ("trackers = [{ every = 3 }]\n" + PLAIN, "trackers.0.name", "no tracker is named"),
        (
            "[[trackers]]\nname = 'board'\n[[trackers]]\nname = 'board'\nevery = 0\n" + PLAIN,
            "trackers.1.every",
            "int >= 1",
        ),
        ("[[model]]\nname = 'neobert'\n" + PLAIN, "model", "expected the name of a plugin, or a table"),
    ],
)
def test_shapes_of_parts(faults: Faults, text: str, key: str, expected: str) -> None:
    found = faults(text)
    assert list(found) == [key]
    assert expected in found[key]
