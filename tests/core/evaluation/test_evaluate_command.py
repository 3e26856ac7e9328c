"""`neobert-run --evaluate` as a person calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from tests.conftest import WORDS

from neobert.cli import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def trained(go: Run) -> Path:
    """A run of two steps, and files of tasks."""
    assert go("--trainer.max_steps=2")[0] == 0
    texts = [f"{first} {second}" for first in WORDS[:6] for second in WORDS[6:12]]
    write("pairs.jsonl", [{"query": text, "positive": f"{text} is {number}"} for number, text in enumerate(texts)])
    write(
        "scored.jsonl",
        [{"sentence1": a, "sentence2": b, "score": n % 5} for n, (a, b) in enumerate(pairwise(texts))],
    )
    write(
        "classes.jsonl",
        [
            {"text": text, "label": text.split()[0], "split": "test" if number % 3 == 0 else "train"}
            for number, text in enumerate(texts)
        ],
    )
    return Path("run")


def write(name: str, rows: list[dict[str, object]]) -> None:
    Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_tables_and_json(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = ("retrieval=pairs.jsonl", "similarity=scored.jsonl", "classification=classes.jsonl")
    assert main(["--evaluate", str(trained), "--tasks", *tasks, "--output", "results.json"]) == 0
    said = capsys.readouterr().out
    for expected in ("36 queries, 36 candidates", "recall@100", "uniformity", "BM25", "TF-IDF", "spearman", "accuracy"):
        assert expected in said
    results = json.loads(Path("results.json").read_text())
    assert [task["task"] for task in results["tasks"]] == ["retrieval", "similarity", "classification"]
    assert set(results["tasks"][0]["results"]) == {"model", "TF-IDF", "BM25"}
    assert 0.0 <= results["tasks"][0]["results"]["model"]["mrr@10"] <= 1.0
    assert results["tasks"][0]["results"]["BM25"]["recall@10"] > 0.9
    assert "step 2" in results["model"]


def test_the_same_twice(trained: Path) -> None:
    for name in ("first.json", "second.json"):
        assert main(["--evaluate", "run", "--tasks=retrieval=pairs.jsonl", "--output", name]) == 0
    assert Path("first.json").read_text() == Path("second.json").read_text()


def test_without_scikit_learn_the_model_stands_alone(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    from neobert.embedding import retrieval

    real = importlib.util.find_spec

    def without(name: str) -> object:
        return None if name == "sklearn" else real(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setattr(retrieval, "find_spec", without)
    assert main(["--evaluate", "run", "--tasks", "retrieval=pairs.jsonl"]) == 0
    assert "without TF-IDF and BM25: scikit-learn is not installed" in capsys.readouterr().out
    assert main(["--evaluate", "run", "--tasks", "classification=classes.jsonl"]) == 2
    assert "pip install 'neobert[evaluation]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--evaluate", "run"], "--evaluate needs --tasks"),
        (["--evaluate", "run", "--tasks"], "--tasks needs KIND=FILE"),
        (["recipe.toml", "--tasks", "retrieval=x"], "--tasks goes with --evaluate"),
        (["--evaluate", "run", "--tasks", "retreival=pairs.jsonl"], "did you mean 'retrieval'?"),
        (["--evaluate", "nowhere", "--tasks", "retrieval=pairs.jsonl"], "there is no folder nowhere"),
        (["--evaluate", "run", "--tasks", "retrieval=bad.jsonl"], "bad.jsonl:1: no 'positive'"),
        (["--evaluate", "run", "--tasks", "retrieval=pairs.jsonl", "--output", "pairs.jsonl"], "exists already"),
        (["recipe.toml", "--evaluate", "run", "--tasks", "retrieval=x"], "takes no recipe"),
    ],
)
def test_mistakes(workdir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    write("pairs.jsonl", [{"query": "a", "positive": "b"}])
    write("bad.jsonl", [{"query": "a"}])
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
