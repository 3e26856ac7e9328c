"""What a recipe is refused for before any data or model is touched."""

from __future__ import annotations

from typing import ClassVar

import pytest
from attrs import field, frozen

from neobert.errors import RecipeError
from neobert.recipe import load_recipe
from neobert.registry import Plugin, Registry, Source, default_registry


@frozen(kw_only=True)
class Anything:
    """Gives every field, hard negatives too."""

    batch_fields: ClassVar[tuple[str, ...]] = (
        "query",
        "positive",
        "negative",
        "negative_of",
        "text_key",
        "text",
        "label",
        "first",
        "second",
        "score",
        "teacher_scores",
        "teacher_vector",
    )

    def build(self, context): ...


@frozen(kw_only=True)
class NoNegatives(Anything):
    """Gives every field but hard negatives."""

    batch_fields: ClassVar[tuple[str, ...]] = tuple(n for n in Anything.batch_fields if not n.startswith("negative"))


@frozen(kw_only=True)
class Quiet:
    """An encoder that says nothing of dropout."""

    size: int = 8

    def build(self, context): ...


@frozen(kw_only=True)
class Two(Quiet):
    """An encoder with two keys for dropout, and no needs of its attention."""

    hidden_dropout: float = field(default=0.0)
    attention_dropout: float = field(default=0.0)


RECIPE = """
datacollator = "anything"
[model]
hidden_size = 8
num_attention_heads = 2
dropout_prob = 0.1
[dataset]
name = "stdlib"
max_seq_length = 64
"""
Case = tuple[list[str], dict[str, str]]


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text(RECIPE)
    source = Source("made-up", "1.0", "made_up")
    added = {
        "datacollator": {"anything": Anything, "no_negatives": NoNegatives},
        "model": {"quiet": Quiet, "two": Two},
    }
    more = [Plugin(kind, name, cls, source) for kind, found in added.items() for name, cls in found.items()]
    registry = Registry.of([*default_registry().plugins, *more], [])
    return lambda *overrides: load_recipe("r.toml", overrides, registry=registry)


@pytest.fixture
def faults(load):
    def refused(*overrides):
        with pytest.raises(RecipeError) as caught:
            load(*overrides)
        return {problem.key: problem.message for problem in caught.value.problems}

    return refused


FINE = {
    "info_nce": ["--loss=info_nce"],
    "one pair with hard negatives": ["--loss=info_nce", "--trainer.per_device_train_batch_size=1"],
    "one pair whose columns have hard negatives": [
        "--loss=info_nce",
        "--datacollator=pairs",
        '--dataset.role_columns={query = "a", positive = "b", negative_1 = "c"}',
        "--trainer.per_device_train_batch_size=1",
    ],
    "one pair's tokens, packed": [
        "--loss=info_nce",
        "--datacollator=no_negatives",
        "--datacollator.pack_sequences=true",
        "--trainer.per_device_train_batch_size=1",
    ],
    "one scored pair by value": ["--loss=cosine_mse", "--trainer.per_device_train_batch_size=1"],
    "simcse": ["--loss=simcse"],
    "simcse, a model that says nothing": ["--loss=simcse", "--model=quiet"],
    "simcse, one of two": ["--loss=simcse", "--model=two", "--model.hidden_dropout=0.1"],
    "supcon": ["--loss=supcon"],
    "cosent": ["--loss=cosent"],
    "matryoshka": ["--loss.name=matryoshka", "--loss.dims=[8, 4]"],
    "matryoshka of vectors' scores": ["--loss", '{name = "matryoshka", dims = [8], loss = "distill"}'],
    "matryoshka, projected": [
        "--loss",
        '{name = "matryoshka", dims = [16, 4], loss = {name = "info_nce", projection_size = 16}}',
    ],
    "matryoshka, who knows how large": ["--loss.name=matryoshka", "--loss.dims=[8, 4]", "--model=quiet"],
    "chunks": ["--loss=info_nce", "--loss.chunk_tokens=64"],
    "chunks, compiled for any size": [
        "--loss=info_nce",
        "--loss.chunk_tokens=64",
        "--trainer.torch_compile=true",
        "--trainer.torch_compile_dynamic=true",
    ],
    "chunks, compiled, not packed": ["--loss=info_nce", "--loss.chunk_tokens=64", "--trainer.torch_compile=true"],
    "learned": ["--loss=info_nce", "--loss.learn_temperature=true", "--loss.temperature=0.01"],
    "vectors": ["--loss=distill", "--loss.match=vector_mse", "--loss.teacher_size=99"],
}
BATCH = "trainer.per_device_train_batch_size"
REFUSED = {
    "no temperature": (["--loss=info_nce", "--loss.temperature=0.0"], {"loss.temperature": "expected a float > 0.0"}),
    "endless": (["--loss=supcon", "--loss.temperature=inf"], {"loss.temperature": "inf"}),
    "no weight": (["--loss=info_nce", "--loss.hard_negative_weight=0"], {"loss.hard_negative_weight": "> 0.0"}),
    "a margin below zero": (["--loss=info_nce", "--loss.margin=-0.1"], {"loss.margin": ">= 0.0"}),
    "learned from nowhere": (
        ["--loss=simcse", "--loss.learn_temperature=true", "--loss.temperature=2.0"],
        {"loss.temperature": "one that is learned begins between 0.01 and 1"},
    ),
    "one pair": (
        ["--loss=info_nce", "--datacollator=no_negatives", f"--{BATCH}=1"],
        {BATCH: "a query needs the candidates of others, or hard negatives of its own"},
    ),
    "one sentence": (["--loss=simcse", f"--{BATCH}=1"], {BATCH: "a sentence needs others to be told from"}),
    "one text": (["--loss=supcon", f"--{BATCH}=1"], {BATCH: "a text needs another of its label"}),
    "one scored pair": (["--loss=cosent", f"--{BATCH}=1"], {BATCH: "a pair needs others to be ranked with"}),
    "one pair inside another loss": (
        ["--loss.name=matryoshka", "--loss.dims=[8]", "--datacollator=no_negatives", f"--{BATCH}=1"],
        {BATCH: "gradient_accumulation_steps adds none"},
    ),
    "no dropout": (
        ["--loss=simcse", "--model.dropout_prob=0.0"],
        {"model.dropout_prob": "without dropout both copies of a sentence have one embedding"},
    ),
    "no dropout, two keys": (["--loss=simcse", "--model=two"], {"model.name": "set it above 0, such as 0.1"}),
    "a pooling with a typing error": (["--loss=info_nce", "--loss.pooling=men"], {"loss.pooling": '"weighted_mean"'}),
    "a bias of nothing": (["--loss=cosent", "--loss.projection_bias=true"], {"loss.projection_bias": "has no effect"}),
    "small chunks": (
        ["--loss=info_nce", "--loss.chunk_tokens=63"],
        {"loss.chunk_tokens": "a sequence of dataset.max_seq_length = 64 tokens is more than a chunk"},
    ),
    "chunks, compiled for one size": (
        [
            "--loss=info_nce",
            "--loss.chunk_tokens=64",
            "--trainer.torch_compile=true",
            "--datacollator.pack_sequences=true",
        ],
        {"loss.chunk_tokens": "set trainer.torch_compile_dynamic = true"},
    ),
    "no sizes": (["--loss=matryoshka"], {"loss.dims": "missing: expected a list of ints (sizes"}),
    "sizes twice": (["--loss.name=matryoshka", "--loss.dims=[8, 8]"], {"loss.dims": "sizes >= 1, each of them once"}),
    "a size of nothing": (["--loss.name=matryoshka", "--loss.dims=[8, 0]"], {"loss.dims": "sizes >= 1"}),
    "larger than an embedding": (
        ["--loss.name=matryoshka", "--loss.dims=[8, 16]"],
        {"loss.dims": "embeddings have 8 values, fewer than 16"},
    ),
    "not the whole": (
        ["--loss.name=matryoshka", "--loss.dims=[4]"],
        {"loss.dims": "name 8 too, or set projection_size"},
    ),
    "a weight short": (
        ["--loss.name=matryoshka", "--loss.dims=[8, 4]", "--loss.weights=[1.0]"],
        {"loss.weights": "there are 1 for 2 dims"},
    ),
    "a weight of nothing": (
        ["--loss.name=matryoshka", "--loss.dims=[8]", "--loss.weights=[0.0]"],
        {"loss.weights": "expected floats > 0.0, < inf"},
    ),
    "no embeddings inside": (
        ["--loss", '{name = "matryoshka", dims = [8], loss = "masked_lm"}'],
        {
            "loss.loss.name": "'masked_lm' cannot be wrapped",
            "datacollator.name": 'loss "matryoshka" needs masked_positions and labels in a batch',
        },
    ),
    "vectors inside": (
        ["--loss", '{name = "matryoshka", dims = [8], loss = {name="distill", match="vector_mse", teacher_size=8}}'],
        {"loss.loss.name": "'distill' cannot be wrapped"},
    ),
    "vectors of no size": (
        ["--loss=distill", "--loss.match=vector_cosine"],
        {"loss.teacher_size": "missing: vector_cosine needs the size of the teacher's vectors"},
    ),
    "a size of scores": (["--loss=distill", "--loss.teacher_size=4"], {"loss.teacher_size": "has no effect"}),
    "temperatures of vectors": (
        [
            "--loss=distill",
            "--loss.match=vector_mse",
            "--loss.teacher_size=4",
            "--loss.temperature=0.1",
            "--loss.teacher_temperature=2.0",
        ],
        {"loss.temperature": "has no effect", "loss.teacher_temperature": "has no effect"},
    ),
    "one pair whose columns have no hard negatives": (
        [
            "--loss=info_nce",
            "--datacollator=pairs",
            '--dataset.role_columns={query = "a", positive = "b"}',
            f"--{BATCH}=1",
        ],
        {BATCH: "or hard negatives of its own"},
    ),
    "masks for pairs": (
        ["--loss=info_nce", "--datacollator=mlm"],
        {"datacollator.name": "needs query, positive and text_key in a batch, and this one gives masked_positions"},
    ),
    "pairs for masks": (
        ["--loss=masked_lm"],
        {"datacollator.name": 'loss "masked_lm" needs masked_positions and labels in a batch'},
    ),
}


@pytest.mark.parametrize("overrides", FINE.values(), ids=FINE.keys())
def test_what_goes_together(load, overrides):
    load(*overrides)


@pytest.mark.parametrize(("overrides", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not(faults, overrides, expected):
    found = faults(*overrides)
    assert found.keys() == expected.keys()
    for key, words in expected.items():
        assert words in found[key]


def test_those_that_would_do_are_named(faults):
    (said,) = faults("--loss=supcon", "--datacollator=mlm").values()
    assert "anything" in said.splitlines()[-1]
    assert "mlm" not in said.splitlines()[-1]
