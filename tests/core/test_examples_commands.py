"""Examples of named columns at the command line: seen, reported, audited, tokenized ahead, and refused in words."""

from __future__ import annotations

import json
import random
from pathlib import Path

import datasets
import pytest

from neobert.cli import main
from neobert.registry import default_registry

WORDS = ["the", "list", "of", "all", "items", "is", "returned", "when", "a", "key", "in", "map", "no", "value", "none"]
LOSS = "info_nce" if any(plugin.name == "info_nce" for plugin in default_registry().plugins) else "masked_lm"
COLUMNS = '--dataset.role_columns={query = "docstring", positive = "code", negative_1 = "hard"}'


@pytest.fixture
def say(workdir, capfd, monkeypatch):
    """``say("--show-batch", ...)``: status, stdout and stderr of a command on pairs of texts."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(workdir / "hf"))
    rng = random.Random(0)

    def text(low, high):
        return " ".join(rng.choices(WORDS, k=rng.randint(low, high)))

    rows = [{"docstring": text(2, 10), "code": text(5, 50), "hard": text(3, 9), "id": n} for n in range(120)]
    Path("pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")

    def run(*tokens, columns=COLUMNS, recipe="recipe.toml", parts=("--datacollator=pairs", f"--loss={LOSS}")):
        capfd.readouterr()
        given = ("--dataset.path=pairs.jsonl", *parts, *((columns,) if columns else ()))
        status = main((recipe, *(given if recipe == "recipe.toml" else ()), *tokens))
        return status, *capfd.readouterr()

    return run


def test_the_examples_of_a_batch_are_shown_by_role(say):
    status, out, notes = say("--show-batch", "2", "--datacollator.pack_sequences=false")
    assert status == 0
    assert "columns: query = docstring, positive = code, negative_1 = hard; left out: id" in notes
    assert "4 examples by role: 4 query, 4 positive, 4 negative" in out
    assert [line.split(":")[0].split("| ")[1] for line in out.splitlines() if "| 1 " in line][:3] == [
        "1 query",
        "1 positive",
        "1 negative",
    ]
    with_workers = say("--show-batch", "2", "--datacollator.pack_sequences=false", "--dataset.num_workers=2")
    assert with_workers[1] == out


def test_the_report_is_by_role(say):
    status, out, _ = say("--data-report")
    assert status == 0
    assert "112 examples, " in out
    assert "role positive: 112 texts, " in out
    assert "cut to 30 tokens" in out
    assert "tokens an example: shortest" in out
    assert "evaluation data\n  8 examples, " in out


def test_the_audit(say):
    status, out, _ = say("--audit-data", "40")
    assert status == 0
    assert "looked through for two examples with a text in common" in out
    lines = Path("pairs.jsonl").read_text(encoding="utf-8").splitlines()
    Path("pairs.jsonl").write_text("\n".join([*lines, lines[0]]) + "\n", encoding="utf-8")
    status, out, _ = say("--audit-data", "40")
    assert status == 1
    assert "document 112 is evaluation row 0" in out


def test_a_run_on_what_preprocess_wrote_has_the_same_batches(say):
    prefixes = '--dataset.role_prefixes={query = "the key ", positive = "a list ", negatives = "a list "}'
    status, tables, notes = say("--preprocess", prefixes)
    assert status == 0
    assert "train: 112 examples" in notes
    plain = Path("recipe.toml").read_text(encoding="utf-8")
    head, _, rest = plain.partition("[tokenizer]")
    rest = rest.partition("[datacollator]")[2]
    again = f'{head.partition("[dataset]")[0]}{tables}\n[loss]\nname = "{LOSS}"\n[datacollator]\nname = "pairs"\n{rest}'
    Path("again.toml").write_text(again, encoding="utf-8")
    for packed in ("true", "false"):
        wanted = say("--show-batch", "30", prefixes, f"--datacollator.pack_sequences={packed}")[1]
        assert say("--show-batch", "30", f"--datacollator.pack_sequences={packed}", recipe="again.toml")[1] == wanted
    status, _, wrong = say("--show-batch", '--dataset.role_prefixes={query = "of "}', recipe="again.toml")
    assert status == 2
    assert "train is tokenized already: prefixes are inside (negatives = 'a list ', " in wrong
    assert say("--preprocess", prefixes)[0] == 0
    assert "holds other data" in say("--preprocess", '--dataset.role_prefixes={query = "of "}')[2]


def test_the_cache_is_filled(say, monkeypatch):
    from neobert.data import tokenization

    assert say("--preprocess")[0] == 0
    monkeypatch.setattr(tokenization, "encode_texts", None)
    assert say("--show-batch")[0] == 0


@pytest.mark.parametrize("stream", ["false", "true"])
def test_rows_that_cannot_be_read_are_skipped_and_named(say, stream):
    lines = Path("pairs.jsonl").read_text(encoding="utf-8").splitlines()
    lines[20] = lines[20][:20]
    lines[30] = '{"docstring": 5, "code": "the list of items", "hard": "a"}'
    lines[40] = '{"docstring": null, "code": "the list of items", "hard": "a"}'
    Path("pairs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    status, out, notes = say("--data-report", f"--dataset.streaming={stream}", "--datacollator.packing_window=200")
    assert status == 0
    assert "skipped: pairs.jsonl: row 21 is not JSON" in notes
    assert "skipped: pairs.jsonl: row 31 has a number as docstring" in notes
    assert "109 examples, " in out
    assert "3 rows left out with nothing in a role (query 3, positive 1)" in out
    status, _, wrong = say("--data-report", f"--dataset.streaming={stream}", "--dataset.on_damaged_row=stop")
    assert status == 2
    assert "row 21 is not JSON" in wrong


def test_what_a_recipe_says_is_wrong_is_said_at_once(say):
    status, _, wrong = say(
        "--check",
        "--dataset.role_columns.qurey=docstring",
        "--dataset.role_prefixes.label=x",
        "--dataset.text_column=code",
    )
    assert status == 2
    for fragment in (
        'command line: dataset.role_columns.qurey = "docstring"',
        "did you mean 'query'?",
        'command line: dataset.role_prefixes.label = "x"',
        "roles of text: query, positive, negatives",
        "command line: dataset.text_column",
    ):
        assert fragment in wrong
    wrong = say("--check", columns='--dataset.role_columns={query = "docstring"}')[2]
    assert "there is no column for role positive" in wrong


def test_columns_without_roles_are_refused_with_the_names_that_have_them(say):
    status, _, wrong = say("--check", '--dataset.role_prefixes={query = "x"}', parts=())
    assert status == 2
    assert wrong.count("the datacollator takes whole documents and no columns by role") == 2
    names = "joined_labelled, joined_scored, labelled, pairs, scored, scored_pairs, sentences"
    assert f"name a datacollator that has roles: {names}" in wrong


def test_what_the_data_says_is_wrong_is_said_with_the_line_to_write(say):
    status, _, wrong = say("--show-batch", columns=None)
    assert status == 2
    assert "role query: no column of this name" in wrong
    assert "text of no role: docstring, code, hard" in wrong
    assert 'such as: dataset.role_columns = { query = "docstring", positive = "code" }' in wrong
    wrong = say("--show-batch", columns='--dataset.role_columns={query = "docstrin", positive = "id"}')[2]
    assert "no column 'docstrin'; did you mean 'docstring'?" in wrong
    assert "column 'id' is int64, role positive takes text" in wrong


def test_the_check_counts_the_texts_of_a_step(say):
    out = say("--check", "--datacollator.pack_sequences=false")[1]
    assert "up to 512 = 2 x 4 x 2 x 32 (micro-batches x examples x texts x tokens), and the negatives" in out


def test_a_mixture_names_its_keys(say):
    tables = (
        f'[loss]\nname = "{LOSS}"\n[datacollator]\nname = "pairs"\n[dataset]\nname = "mix"\n'
        'role_columns = { query = "docstring" }\nsources = { a = { name = "files", path = "pairs.jsonl" } }\n'
        'select = { a = { role_columns = { qurey = "docstring" }, role_prefixes = { score = "x" }, '
        'text_column = "code" } }\n'
    )
    Path("mix.toml").write_text(tables, encoding="utf-8")
    status, _, wrong = say("--check", recipe="mix.toml")
    assert status == 2
    for fragment in (
        "mix.toml:7: dataset.role_columns.query",
        "a mixture has it for each source: dataset.select.NAME.role_columns",
        "mix.toml:9: dataset.select.a.role_columns.qurey",
        "did you mean 'query'?",
        "mix.toml:9: dataset.select.a.role_prefixes.score",
        "mix.toml:9: dataset.select.a.text_column",
    ):
        assert fragment in wrong
