"""Runs on examples of named columns: every form of data, resumed bit for bit, with and without workers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import datasets
import pytest

from neobert.cli import main

WORDS = ["the", "list", "of", "all", "items", "is", "returned", "when", "a", "key", "in", "map", "no", "value", "none"]
STATE = "checkpoints/6/state.safetensors"
PAIRS = (
    '--dataset={name = "files", path = "pairs.jsonl", role_columns = {query = "q", positive = "p", negatives = "n"}, '
    'role_prefixes = {query = "the key "}, eval_samples = 8}'
)
RUNS = {
    "pairs": ("pairs", "info_nce", PAIRS),
    "sentences": (
        "sentences",
        "simcse",
        PAIRS.replace('query = "q", positive = "p", negatives = "n"', 'sentence = "q"').replace(
            "role_prefixes = {query", "role_prefixes = {sentence"
        ),
    ),
    "labelled": (
        "labelled",
        "supcon",
        PAIRS.replace('query = "q", positive = "p", negatives = "n"', 'text = "p", label = "kind"').replace(
            'role_prefixes = {query = "the key "}, ', ""
        ),
    ),
    "scored_pairs": (
        "scored_pairs",
        "cosent",
        PAIRS.replace(
            'query = "q", positive = "p", negatives = "n"', 'sentence1 = "q", sentence2 = "p", score = "how"'
        ).replace('role_prefixes = {query = "the key "}, ', ""),
    ),
}


@pytest.fixture
def rows(workdir, monkeypatch):
    """``pairs.jsonl``: rows of texts, negatives, kinds and scores."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(workdir / "hf"))
    rng = random.Random(0)

    def text(low, high):
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))

    found = [
        {
            "q": text(3, 10),
            "p": text(5, 50),
            "n": [text(3, 9) for _ in range(number % 3)],
            "kind": rng.choice(["red", "green"]),
            "how": rng.random(),
        }
        for number in range(90)
    ]
    Path("pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in found), encoding="utf-8")


def run(name, *tokens):
    collator, loss, dataset = RUNS[name]
    parts = (
        f"--datacollator={collator}",
        f"--loss={loss}",
        dataset,
        "--optimizer=adamw",
        "--dataset.max_seq_length=32",
    )
    saving = () if any("save_steps" in token for token in tokens) else ("--trainer.save_steps=2",)
    return main(("recipe.toml", *parts, *saving, *tokens))


def lines(folder):
    """Every metric line, without what depends on the clock."""
    found = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k and "wait" not in k} for line in found]


@pytest.mark.parametrize("name", RUNS)
def test_every_form_is_trained_on_evaluated_and_resumed_bit_for_bit(rows, name):
    assert run(name) == 0
    evaluated = [line for line in lines("run") if "eval/loss" in line]
    assert len(evaluated) == 2
    assert run(name, "--trainer.max_steps=4", "--trainer.output_dir=stopped") == 0
    assert run(name, "--trainer.output_dir=stopped", "--trainer.resume_from_checkpoint=4") == 0
    assert Path("stopped", STATE).read_bytes() == Path("run", STATE).read_bytes()


@pytest.mark.parametrize(
    "more", [("--dataset.num_workers=2",), ("--datacollator.pack_sequences=false",), ("--dataset.streaming=true",)]
)
def test_workers_counting_and_streams_resume_too(rows, more):
    assert run("pairs", *more) == 0
    assert run("pairs", "--trainer.output_dir=stopped", "--trainer.max_steps=3", *more) == 0
    resumed = run("pairs", "--trainer.output_dir=stopped", "--trainer.resume_from_checkpoint=latest", *more)
    assert resumed == 0
    assert Path("stopped", STATE).read_bytes() == Path("run", STATE).read_bytes()


def test_other_columns_or_prefixes_are_a_change_of_the_past(rows, capsys):
    assert run("pairs") == 0
    again = ("--trainer.max_steps=8", "--trainer.resume_from_checkpoint=latest")
    assert run("pairs", *again, "--dataset.role_prefixes.query=other") == 2
    assert 'dataset.role_prefixes.query: "the key " -> "other"' in capsys.readouterr().err
    Path("pairs.jsonl").write_text(Path("pairs.jsonl").read_text().replace("returned", "given"))
    assert run("pairs", *again) == 2
    assert "the dataset is not the one that the checkpoint was made with" in capsys.readouterr().err


def test_the_memory_of_a_run_is_estimated(rows, capsys):
    assert run("pairs", "--check") == 0
    assert "estimated peak memory  " in capsys.readouterr().out
    assert run("labelled", "--check") == 0
    assert "estimated peak memory  " in capsys.readouterr().out


def test_a_length_warmup_is_refused(rows, capsys):
    assert run("pairs", "--check", "--trainer.length_warmup_steps=2", "--trainer.length_warmup_start=16") == 2
    assert "trainer.length_warmup_steps = 2\n  cuts sequences into several" in capsys.readouterr().err


def test_the_summary_has_what_a_stream_left_out(rows):
    text = Path("pairs.jsonl").read_text().splitlines()
    text[40] = json.dumps({"q": "", "p": "the list", "n": []})
    Path("pairs.jsonl").write_text("\n".join(text) + "\n")
    assert run("pairs", "--dataset.streaming=true", "--datacollator.packing_window=200") == 0
    left_out = json.loads(Path("run/summary.json").read_text())["left_out"]
    assert left_out["empty_rows"] >= 1
    assert left_out["cut_positive_texts"] > 10
