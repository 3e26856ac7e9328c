"""Fine-tuning: what is learned of real labels, what others open, what goes on from it, and what is refused."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tests import labelled_library
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from neobert.cli import main
from neobert.errors import RecipeError, UserError
from neobert.evaluation.predicting import open_predicting
from neobert.recipe import load_recipe
from neobert.training.run import run

RECIPE = """
[model]
hidden_size = 64
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 128
max_position_embeddings = 64
[tokenizer]
vocab_size = 1500
[dataset]
name = "files"
path = "train.jsonl"
eval_path = "dev.jsonl"
max_seq_length = 48
[datacollator]
name = "labelled"
[loss]
name = "classification"
[optimizer]
lr = 0.003
[scheduler]
warmup_steps = 1
[trainer]
output_dir = "run"
max_steps = 2
per_device_train_batch_size = 16
per_device_eval_batch_size = 64
num_threads = 1
use_cpu = true
"""
CPU = torch.device("cpu")
Start = Callable[..., str]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Start]:
    """``start("--key=value", ...)`` runs the recipe above, on the library's docstrings; what it printed."""
    folder, patch, before = tmp_path_factory.mktemp("fine"), pytest.MonkeyPatch(), Path.cwd()
    patch.setenv("NEOBERT_CACHE", str(cache))
    os.chdir(folder)
    Path("recipe.toml").write_text(RECIPE)
    rows = labelled_library.rows()
    labelled_library.write(Path("dev.jsonl"), rows[::5])
    labelled_library.write(Path("train.jsonl"), [row for number, row in enumerate(rows) if number % 5])
    write_pairs(rows)

    def go(*overrides: str) -> str:
        text = io.StringIO()
        assert run(load_recipe(Path("recipe.toml"), overrides), Console(file=text, width=200)) == 0
        return text.getvalue()

    yield go
    os.chdir(before)
    patch.undo()


def write_pairs(rows: list[dict[str, str]]) -> None:
    """Whether two docstrings are of one package, as labels and as scores."""
    pairs = [
        {"sentence1": a["text"], "sentence2": b["text"], "label": int(a["label"] == b["label"])}
        for a, b in zip(rows[:160], rows[160:320], strict=True)
    ]
    labelled_library.write(Path("pairs.jsonl"), pairs)
    scored = [{**row, "score": 5.0 * float(row.pop("label"))} for row in map(dict, pairs)]
    labelled_library.write(Path("scored.jsonl"), scored)


@pytest.fixture(scope="module")
def trained(start: Start) -> Path:
    """The one longer run."""
    said = start(
        "--trainer.max_steps=70",
        "--trainer.eval_steps=35",
        "--trainer.metric_for_best=eval/macro_f1",
        "--loss.label_smoothing=0.05",
    )
    assert "held-out predictions" in said
    return Path("run")


def figures(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())["evaluations"]


def texts(name: str = "dev.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def logits_of(folder: Path, encoded: Any) -> torch.Tensor:
    """By stock transformers, one at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return torch.cat([model(input_ids=torch.tensor([ids])).logits for ids in encoded["input_ids"]])


def test_labels_are_learned_far_above_the_majority(trained: Path) -> None:
    found = figures(trained)
    assert found["majority"]["accuracy"] < 0.4
    assert found["after"]["accuracy"] > found["majority"]["accuracy"] + 0.25
    assert found["best"]["macro_f1"] >= found["after"]["macro_f1"]
    assert "perplexity" not in found["after"]
    assert json.loads((trained / "best.json").read_text())["metric"] == "eval/macro_f1"


def test_the_export_is_opened_by_transformers_with_names_and_equal_logits(trained: Path) -> None:
    (export,) = (trained / "model_checkpoints").glob("70")
    config = AutoModelForSequenceClassification.from_pretrained(export).config
    assert config.id2label == dict(enumerate(sorted(labelled_library.PACKAGES)))
    assert config.label2id == {name: number for number, name in config.id2label.items()}
    assert config.problem_type == "single_label_classification"
    rows = [row["text"] for row in texts()[:20]]
    ours = open_predicting(trained, CPU).predict([(text,) for text in rows])
    tokenizer = AutoTokenizer.from_pretrained(export)
    theirs = logits_of(export, tokenizer(rows, truncation=True, max_length=48))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    classify = pipeline("text-classification", str(export))
    assert classify(rows[0])[0]["label"] == config.id2label[int(ours[0].argmax())]


def test_evaluate_gives_the_runs_own_figures(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {name: value for name, value in figures(trained)["after"].items() if name != "loss"}
    for number, folder in enumerate((trained, trained / "model_checkpoints" / "70")):
        out = Path(f"found-{number}.json")
        assert main(["--evaluate", str(folder), "--tasks", "labelled=dev.jsonl", "--output", str(out)]) == 0
        assert json.loads(out.read_text())["tasks"][0]["results"]["model"] == pytest.approx(expected)
    assert "always 'email'" in capsys.readouterr().out


def test_what_goes_on_from_it_says_what_starts_afresh(start: Start, trained: Path) -> None:
    common = (f"--model.weights={trained}", f"--tokenizer={{name = 'pretrained', path = '{trained}'}}")
    same = start(*common, "--trainer.output_dir=same", "--trainer.eval_steps=1")
    assert "afresh" not in same
    assert figures(Path("same"))["before"]["accuracy"] == pytest.approx(figures(trained)["after"]["accuracy"])
    export = common[0] + "/model_checkpoints/70"
    pairs = ("--dataset.path=pairs.jsonl", "--dataset.eval_path=pairs.jsonl", "--datacollator=joined_labelled")
    for weights in (common[0], export):
        other = start(weights, common[1], *pairs, f"--trainer.output_dir=other-{len(weights)}")
        assert "head.classifier.weight starts afresh" in other
        assert "head.dense.weight starts afresh" not in other
    tokens = start(
        export,
        common[1],
        "--datacollator=mlm",
        "--loss=masked_lm",
        "--dataset.text_column=text",
        "--trainer.output_dir=mlm",
    )
    assert "without the head (classifier.bias, classifier.weight, dense.bias, dense.weight)" in tokens
    back = start("--model.weights=mlm", common[1], "--trainer.output_dir=back")
    assert all(f"head.{layer}.weight starts afresh" in back for layer in ("dense", "classifier"))


@pytest.mark.parametrize("pooling", ["mean", "cls", "late"])
def test_numbers_of_pairs_and_every_pooling_are_exported_alike(start: Start, pooling: str) -> None:
    folder = Path(f"scored-{pooling}")
    said = start(
        "--dataset.path=scored.jsonl",
        "--dataset.eval_path=scored.jsonl",
        "--datacollator=joined_scored",
        f"--loss={{name = 'regression', pooling = '{pooling}'}}",
        f"--trainer.output_dir={folder}",
    )
    assert "pearson" in said
    assert "cut to 45 tokens, both of a pair together" in said or pooling != "mean"
    export = folder / "model_checkpoints" / "2"
    config = json.loads((export / "config.json").read_text())
    assert (config["problem_type"], config["classifier_pooling"]) == (
        "regression",
        {"cls": "bos"}.get(pooling, pooling),
    )
    rows = texts("scored.jsonl")[:12]
    ours = open_predicting(folder, CPU).predict([(row["sentence1"], row["sentence2"]) for row in rows])
    encoded = AutoTokenizer.from_pretrained(export)(
        [row["sentence1"] for row in rows], [row["sentence2"] for row in rows], truncation=True, max_length=48
    )
    torch.testing.assert_close(ours, logits_of(export, encoded), rtol=0, atol=1e-5)


def test_a_model_that_is_no_architecture_of_transformers_is_exported_without_its_head(start: Start) -> None:
    said = start("--model.ngpt=true", "--trainer.output_dir=normalized")
    assert "the encoder alone is exported; checkpoints have the head" in said
    open_predicting(Path("normalized"), CPU)
    with pytest.raises(UserError, match="name the run or its checkpoint"):
        open_predicting(Path("normalized/model_checkpoints/2"), CPU)
    labelled_library.write(Path("similar.jsonl"), [{**row, "score": row["score"]} for row in texts("scored.jsonl")])
    assert main(["--evaluate", "normalized/model_checkpoints/2", "--tasks", "similarity=similar.jsonl"]) == 0


def test_an_objective_beside_masked_tokens(start: Start) -> None:
    """Both are trained, and the folder is the classifier's."""
    Path("both.toml").write_text(
        RECIPE.replace('[datacollator]\nname = "labelled"\n[loss]\nname = "classification"\n', "")
        .replace('[dataset]\nname = "files"\npath = "train.jsonl"\neval_path = "dev.jsonl"\nmax_seq_length = 48\n', "")
        .replace('output_dir = "run"', 'output_dir = "both"')
        + """
[objectives.classes]
probability = 0.5
dataset = { name = "files", path = "train.jsonl", eval_path = "dev.jsonl", max_seq_length = 48 }
datacollator = "labelled"
loss = "classification"
[objectives.tokens]
probability = 0.5
dataset = { name = "files", path = "train.jsonl", eval_path = "dev.jsonl", max_seq_length = 48, text_column = "text" }
datacollator = "mlm"
loss = "masked_lm"
"""
    )
    assert run(load_recipe(Path("both.toml"), ()), Console(file=io.StringIO())) == 0
    config = json.loads(Path("both/model_checkpoints/2/config.json").read_text())
    assert config["architectures"] == ["EuroBertForSequenceClassification"]
    assert open_predicting(Path("both"), CPU).labels == tuple(sorted(labelled_library.PACKAGES))


@pytest.mark.parametrize(
    ("rows", "overrides", "expected"),
    [
        ([{"text": "a b", "label": -1}, {"text": "c", "label": 1}], (), "have a label below 0"),
        ([{"text": "a b", "label": 1}, {"text": "c", "label": 0}], ("--loss.labels=['no']",), "two or more classes"),
        (
            [{"text": f"a {n}", "label": n % 3} for n in range(9)],
            ("--loss.labels=['no', 'yes']",),
            "3 classes in the data",
        ),
        ([{"text": f"a {n}", "label": n % 3} for n in range(9)], ("--loss.metrics=['f1']",), "take macro_f1"),
        ([{"text": f"a {n}", "label": "one"} for n in range(9)], (), "there is nothing to tell apart"),
        ([{"text": f"a {n}", "label": f"{n % 2}"} for n in range(9)], ("--loss.labels=['1', '0']",), "in this order"),
        ([{"text": f"a {n}", "label": 10**7 * (n % 2)} for n in range(9)], (), "no numbers of classes"),
        ([{"text": f"a {n}", "score": 1.0} for n in range(9)], ("--datacollator=scored",), "needs text and label"),
    ],
)
def test_labels_that_are_none(
    start: Start, rows: list[dict[str, Any]], overrides: tuple[str, ...], expected: str
) -> None:
    labelled_library.write(Path("wrong.jsonl"), rows)
    with pytest.raises((UserError, RecipeError), match=expected):
        start("--dataset.path=wrong.jsonl", "--dataset.eval_path=wrong.jsonl", "--trainer.output_dir=wrong", *overrides)


def test_files_that_do_not_fit_the_model(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rows, expected in (
        ([{"text": "a", "label": "botany"}], "labels that the model does not know: 'botany'"),
        ([{"text": "a", "score": 1.0}], "has scores, and the model says one of 4 classes"),
        ([{"text": "a", "labels": "xml"}], "did you mean it by 'labels'"),
    ):
        labelled_library.write(Path("misfit.jsonl"), rows)
        assert main(["--evaluate", str(trained), "--tasks", "labelled=misfit.jsonl"]) == 2
        assert expected in capsys.readouterr().err
