"""The mixture's rows and what it says of them; every contradiction is told by name."""

from __future__ import annotations

import json
from pathlib import Path

import datasets
import pytest
from attrs import frozen

from neobert import Part, UserError
from neobert.data.mixed_rows import parts_of
from neobert.mixture import SOURCE_COLUMN
from neobert.recipe import load_recipe
from neobert.testing import check_dataset
from neobert.testing.context import make_context
from neobert_plugins.datasets.mix_options import Mix, Selection
from neobert_plugins.datasets.options import Files


@frozen
class Rows:
    """A stranger's dataset."""

    splits: dict

    def build(self, context):
        return self.splits


def rows(*texts, column="text", **more):
    return datasets.Dataset.from_dict({column: list(texts), **more})


def source(**splits):
    return Part(kind="dataset", name="rows", options=Rows(splits))


def build(**keys):
    return Mix(**keys).build(make_context())


def listed(split):
    return list(zip(split["text"], split[SOURCE_COLUMN], strict=True))


def test_sources_stand_one_after_another_each_with_its_own_column():
    built = build(
        sources={
            "web": source(train=rows("a", "b", id=["x", "y"])),
            "books": source(train=rows("c", column="body"), test=rows("d", column="body")),
        },
        select={"web": Selection(text_column="text")},
    )
    assert listed(built["train"]) == [("a", 0), ("b", 0), ("c", 1)]
    assert listed(built["eval"]) == [("d", 1)]


def test_each_source_has_its_own_splits():
    select = {"web": Selection(eval_samples=1), "books": Selection(train_split="all[1:]", eval_split="all[:1]")}
    built = build(
        sources={"web": source(train=rows("a", "b", "c")), "books": source(all=rows("d", "e"))}, select=select
    )
    assert listed(built["train"]) == [("b", 0), ("c", 0), ("e", 1)]
    assert listed(built["eval"]) == [("a", 0), ("d", 1)]


def test_rows_held_out_may_be_evaluated_on_once_though_two_sources_have_them():
    splits = {"train": rows("a", "b", "c"), "eval": rows("d", "e")}
    select = {"long": Selection(), "short": Selection(evaluate=False)}
    built = build(sources={"long": source(**splits), "short": source(**splits)}, select=select)
    assert listed(built["train"]) == [(text, number) for number in (0, 1) for text in "abc"]
    assert listed(built["eval"]) == [("d", 0), ("e", 0)]
    reserved = {"long": Selection(eval_samples=1), "short": Selection(eval_samples=1, evaluate=False)}
    train = {"train": rows("a", "b", "c")}
    built = build(sources={"long": source(**train), "short": source(**train)}, select=reserved)
    assert listed(built["train"]) == [("b", 0), ("c", 0), ("b", 1), ("c", 1)]
    assert listed(built["eval"]) == [("a", 0)]
    none = build(sources={"long": source(**splits)}, select={"long": Selection(evaluate=False)})
    assert none.keys() == {"train"}


def test_no_evaluation_without_asking():
    assert build(sources={"web": source(train=rows("a"))}).keys() == {"train"}


def test_a_stream_beside_stored_rows():
    sources = {"web": source(train=rows("a", "b").to_iterable_dataset()), "books": source(train=rows("c", "d", "e"))}
    select = {"web": Selection(eval_samples=1), "books": Selection(eval_samples=1)}
    built = build(sources=sources, select=select, weights={"web": 1.0, "books": 2.0})
    assert [(row["text"], row[SOURCE_COLUMN]) for row in built["train"]] == [("b", 0), ("d", 1), ("e", 1)]
    assert listed(built["eval"]) == [("a", 0), ("c", 1)]
    assert {name: [row["text"] for row in part] for name, part in parts_of(built["train"]).items()} == {
        "web": ["b"],
        "books": ["d", "e"],
    }


def test_ids_of_several_widths_are_joined():
    def ids(width):
        features = datasets.Features({"input_ids": datasets.List(datasets.Value(width))})
        return datasets.Dataset.from_dict({"input_ids": [[1, 2], [3]]}, features=features)

    train = build(sources={"a": source(train=ids("int32")), "b": source(train=ids("uint16"))})["train"]
    assert train["input_ids"][:] == [[1, 2], [3], [1, 2], [3]]
    with pytest.raises(UserError, match="a has text, b has input_ids"):
        build(sources={"a": source(train=rows("x")), "b": source(train=ids("int32"))})


def test_what_is_wrong_with_a_source_is_said_with_its_name():
    with pytest.raises(UserError, match=r"source 'web': dataset\.select\.web\.train_split = 'train': no such split"):
        build(sources={"web": source(training=rows("a"))})
    with pytest.raises(UserError, match=r"source 'web': how large a stream is.*needs dataset\.weights"):
        build(sources={"web": source(train=rows("a").to_iterable_dataset())})
    with pytest.raises(UserError, match="source 'web': it is a mixture itself"):
        build(sources={"web": source(train=rows("a", **{SOURCE_COLUMN: [0]}))})
    with pytest.raises(
        UserError, match=r"source 'web': dataset\.sources\.web\.path = 'no/dataset\.text' matches no file"
    ):
        build(sources={"web": Part(kind="dataset", name="files", options=Files(path="no/dataset.text"))})


def test_what_the_core_is_told():
    sources = {"web": source(), "books": source()}
    mixture = Mix(sources=sources, weights={"books": 1, "web": 3}, select={"books": Selection(min_length=5)}).mixture()
    assert [(found.name, found.weight, found.min_length) for found in mixture.sources] == [
        ("web", 3, None),
        ("books", 1, 5),
    ]
    with pytest.raises(UserError, match=r"weights\.web2: no source has this name; did you mean \"web\"\?"):
        Mix(sources=sources, weights={"web": 1.0, "books": 1.0, "web2": 1.0}).mixture()


def write_recipe(folder: Path, text: str) -> Path:
    (folder / "r.toml").write_text('[dataset]\nname = "mix"\n' + text, encoding="utf-8")
    return folder / "r.toml"


SOURCES = '[dataset.sources]\nweb = { name = "files", path = "a" }\nbooks = { name = "files", path = "b" }\n'


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            "weights = { web = 1.0 }\n" + SOURCES,
            ["r.toml:6: dataset.sources.books.name", "dataset.weights has none for it"],
        ),
        ("weights = { web = 1.0, books = 0.0 }\n" + SOURCES, ["dataset.weights"]),
        ("weights = { web = 1.0, books = 2.0 }\nalpha = 0.5\n" + SOURCES, ["r.toml:4: dataset.alpha", "tempers"]),
        (
            "select = { wen = { min_length = 3 } }\n" + SOURCES,
            ["r.toml:3: dataset.select.wen\n  no source", 'did you mean "web"?'],
        ),
        ("select = { web = { min_lenght = 3 } }\n" + SOURCES, ["dataset.select.web.min_lenght", "min_length"]),
        ("eval_samples = 5\n" + SOURCES, ["r.toml:3: dataset.eval_samples", "dataset.select.NAME.eval_samples"]),
        ('shard_streams_by = "file"\n' + SOURCES, ["r.toml:3: dataset.shard_streams_by", "all ranks together"]),
        ('on_damaged_row = "stop"\n' + SOURCES, ["r.toml:3", "dataset.select.NAME.on_damaged_row"]),
        ('when_exhausted = "end"\n' + SOURCES, ["when_exhausted", '"repeat", "stop"']),
        ("sources = {}\n", ["a mixture needs a source"]),
        ("", ["dataset.sources", "missing"]),
        (SOURCES.replace('"b"', '"b", streaming = true'), ["dataset.sources.books.streaming", "weights"]),
        (
            '[dataset.sources.all]\nname = "mix"\n' + SOURCES.replace("sources]", "sources.all.sources]"),
            ["no source of"],
        ),
    ],
)
def test_contradictions_are_found_before_any_data(tmp_path, table, said):
    with pytest.raises(UserError) as error:
        load_recipe(write_recipe(tmp_path, table))
    assert all(word in str(error.value) for word in said), str(error.value)


def test_an_effective_recipe_loads_again(tmp_path):
    recipe = load_recipe(write_recipe(tmp_path, "weights = { web = 1, books = 2.5 }\n" + SOURCES))
    (tmp_path / "again.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert load_recipe(tmp_path / "again.toml") == recipe
    changed = load_recipe(tmp_path / "again.toml", ["--dataset.weights.web", "4", "--dataset.select.web.min_length=9"])
    assert (changed.dataset.weights["web"], changed.dataset.select["web"].min_length) == (4, 9)


def test_it_keeps_a_datasets_promises(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "hf"))
    for name in ("web", "books"):
        lines = (json.dumps({"text": f"{name} {number}"}) for number in range(40))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    parts = {
        name: Part(kind="dataset", name="files", options=Files(path=str(tmp_path / f"{name}.jsonl")))
        for name in ("web", "books")
    }
    check_dataset(Mix(sources=parts, select={"web": Selection(eval_samples=4)}))
