"""The recipes that come with the project: each is checked as it is, and the full-scale ones run, made small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.shipped import (
    GLUE,
    IN_PROCESS,
    OVERRIDES,
    PAIRS,
    RECIPES,
    glue_rows,
    overrides,
    write_documents,
    write_glue,
)

from neobert.cli import main
from neobert.data import select_splits
from neobert.data.labels import labels_of
from neobert.recipe import load_recipe

SHIPPED = sorted(str(path.relative_to(RECIPES)) for path in RECIPES.glob("**/*.toml"))


GLUE_METRICS = {
    "cola": ("matthews",),
    "mrpc": ("accuracy", "f1"),
    "qqp": ("accuracy", "f1"),
    "stsb": ("pearson", "spearman"),
}
"""Of the others: accuracy."""


@pytest.fixture
def folder(workdir: Path) -> Path:
    write_documents(workdir)
    return workdir


def test_every_recipe_is_run_by_ci() -> None:
    assert sorted(OVERRIDES) == SHIPPED
    assert sorted(IN_PROCESS) == sorted(f"neobert/glue/{name}.toml" for name in GLUE)
    script = (RECIPES.parent / ".ci" / "run").read_text(encoding="utf-8")
    assert 'python -m tests.shipped "$work"' in script


@pytest.mark.parametrize("name", SHIPPED)
def test_each_passes_the_check_as_it_is(
    name: str, workdir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without data, without a network, and without the run that it may start from."""
    monkeypatch.setattr("socket.socket.connect", _no_network)
    monkeypatch.setattr("neobert.training.memory.estimate_peak", _not_estimated)
    assert main((str(RECIPES / name), "--check", "--model.weights=none", "--trainer.torch_compile=false")) == 0
    assert "tokens a step" in capsys.readouterr().out


def test_the_full_scale_recipes_take_two_steps(folder: Path) -> None:
    """The second stage starts from the weights, and with the tokenizer, of the first; the embedding model from its."""
    for name in (
        "neobert/stage1.toml",
        "neobert/stage2_4096.toml",
        "neobert/contrastive_250m.toml",
        "neobert/base_packed.toml",
        "neobert/stage1_1b.toml",
    ):
        assert main((str(RECIPES / name), *overrides(name, folder))) == 0
        assert (folder / "runs" / Path(name).with_suffix("") / "model_checkpoints/2/model.safetensors").is_file()
    first, second = (
        [json.loads(line) for line in (folder / "runs/neobert" / run / "metrics.jsonl").read_text().splitlines()]
        for run in ("stage1", "stage2_4096")
    )
    last_of_first = [line["eval/loss"] for line in first if "eval/loss" in line][-1]
    assert second[0]["eval/loss/all"] == pytest.approx(last_of_first, abs=1e-6)
    assert second[0].keys() >= {"eval/loss_at/0-16", "eval/loss_at/16-32", "eval/loss_at/32-64"}
    embedding = json.loads((folder / "runs/neobert/contrastive_250m/summary.json").read_text())
    assert embedding["mixture"].keys() == PAIRS.keys()
    held_out = [name for name in embedding["evaluations"]["after"] if name.startswith("loss/")]
    assert sorted(held_out) == sorted(f"loss/{name}" for name in PAIRS.keys() - {"msmarco", "squad", "paq"})
    assert "all/mrr@10" in embedding["evaluations"]["BM25"]


@pytest.mark.parametrize("name", GLUE)
def test_each_of_glues_tasks_finds_its_columns(name: str) -> None:
    """In rows of the set's own columns, whose test splits have no answers; and it asks for its own figures."""
    recipe = load_recipe(RECIPES / f"neobert/glue/{name}.toml", ["--model.weights=none"])
    assert (recipe.dataset.options.path, recipe.dataset.options.config) == ("nyu-mll/glue", name)
    roles = recipe.datacollator.options.roles
    splits = select_splits(glue_rows(name), recipe.dataset.served, 0, roles)
    assert set(splits.train.features) == set(roles.required)
    labels = labels_of(splits.as_mapping(), roles)
    assert labels is None if name == "stsb" else labels.names == ("0", "1", "2")[: 3 if name == "mnli" else 2]
    metric = str(recipe.trainer.metric_for_best).split("/")[1]
    assert metric in recipe.loss.options.metrics
    assert recipe.loss.options.metrics == GLUE_METRICS.get(name, ("accuracy",))


def test_glues_tasks_take_a_step(folder: Path) -> None:
    """A text, a pair with a number, and a pair of three classes evaluated twice; from the first stage's weights."""
    assert main((str(RECIPES / "neobert/stage1.toml"), *overrides("neobert/stage1.toml", folder))) == 0
    write_glue(folder)
    both = {f"accuracy/{split}" for split in ("validation_matched", "validation_mismatched")}
    for name in ("sst2", "stsb", "mnli"):
        recipe = f"neobert/glue/{name}.toml"
        assert main((str(RECIPES / recipe), *overrides(recipe, folder))) == 0
        run = folder / "runs/neobert/glue" / name
        found = json.loads((run / "summary.json").read_text())["evaluations"]["after"]
        expected = {*GLUE_METRICS.get(name, ("accuracy",)), *(both if name == "mnli" else ())}
        assert {figure for figure in found if not figure.startswith("loss")} == expected
        config = json.loads((run / "model_checkpoints/1/config.json").read_text())
        assert config["architectures"] == ["EuroBertForSequenceClassification"]
        assert len(config["id2label"]) == {"stsb": 1, "mnli": 3}.get(name, 2)


def test_the_public_pairs_are_read_with_the_columns_that_they_have() -> None:
    """No column that a recipe names is missing from its set, and none of text is left out by accident."""
    options = load_recipe(RECIPES / "neobert/contrastive_250m.toml", ["--model.weights=none"]).dataset.options
    assert options.sources.keys() == PAIRS.keys() == options.select.keys()
    for name, selection in options.select.items():
        assert set(selection.role_columns.values()) <= set(PAIRS[name]), name
        assert {"query", "positive"} <= set(selection.role_columns), name
        assert ("negative" in selection.role_columns) == ("negative" in PAIRS[name]), name


def test_the_second_stage_says_what_it_lacks(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, first in (
        ("neobert/stage2_4096.toml", "neobert/stage1.toml"),
        ("long_context.toml", "pretrain.toml"),
    ):
        assert main((str(RECIPES / name),)) == 2
        said = capsys.readouterr().err
        assert "there are no weights at runs/" in said
        assert f"{first} is the recipe of that run; run it first: neobert-run " in said


def test_the_published_settings() -> None:
    stage1 = load_recipe(RECIPES / "neobert/stage1.toml").flat()
    assert (stage1["model.num_hidden_layers"], stage1["model.hidden_size"], stage1["model.num_attention_heads"]) == (
        28,
        768,
        12,
    )
    stage2 = load_recipe(RECIPES / "neobert/stage2_4096.toml").flat()
    for flat, length in ((stage1, 1024), (stage2, 4096)):
        assert flat["dataset.max_seq_length"] == length
        step = flat["trainer.gradient_accumulation_steps"] * flat["trainer.per_device_train_batch_size"] * length
        assert step == 2**21
        assert (flat["datacollator.mlm_probability"], flat["datacollator.mask_all"]) == (0.2, True)
    end = stage1["scheduler.warmup_steps"] + stage1["scheduler.decay_steps"]
    assert (stage1["scheduler.warmup_steps"], end, stage1["trainer.max_steps"]) == (2000, 900_000, 1_000_000)
    reserved = {stage1["dataset.eval_samples"]}
    reserved |= {stage2[f"dataset.select.{name}.eval_samples"] for name in ("all", "long", "longer")}
    assert len(reserved) == 1, "no stage trains on what the other holds out"


def test_a_longer_context_holds_out_what_the_main_job_does() -> None:
    """The corpus and its split are those of the main job; so are the seed and, but for its length, the model."""
    main_job, longer = (load_recipe(RECIPES / name) for name in ("pretrain.toml", "long_context.toml"))
    sources = longer.dataset.options.sources
    assert [source.options for source in sources.values()] == [main_job.dataset.options] * 2
    different = {
        key
        for key, value in main_job.flat().items()
        if key.startswith(("model.", "trainer.seed", "loss.", "datacollator.mlm")) and longer.flat()[key] != value
    }
    assert different == {"model.weights", "model.max_position_embeddings"}


@pytest.mark.slow
def test_no_recipe_trains_on_what_the_other_is_evaluated_on(workdir: Path) -> None:
    """Asked of the documents themselves; some of those held out are longer than the main job's context."""
    from neobert.testing.context import make_context

    main_job, longer = (load_recipe(RECIPES / name).dataset for name in ("pretrain.toml", "long_context.toml"))
    splits, mixed = main_job.build(make_context()), longer.build(make_context())
    held_out = [set(built["eval"]["text"]) for built in (splits, mixed)]
    assert held_out[0] == held_out[1]
    assert len(mixed["eval"]) == len(splits["eval"]), "each is evaluated on once"
    for built in (splits, mixed):
        assert not held_out[0] & set(built["train"]["text"])
    assert sum(len(text.split()) > 2048 for text in held_out[0]) >= 1


def _no_network(*_: object) -> None:
    raise AssertionError("a check needs no network")


def _not_estimated(*_: object) -> None:
    raise ValueError("how large a model is has its own tests")
