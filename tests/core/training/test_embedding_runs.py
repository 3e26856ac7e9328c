"""Runs whose loss makes embeddings, from the recipe to what is measured of them and what others open."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from sentence_transformers import SentenceTransformer
from tests.conftest import WORDS

from neobert.embedding.retrieval import RetrievalBuilder
from neobert.errors import UserError
from neobert.evaluation.data import read_pairs
from neobert.evaluation.opening import open_model
from neobert.evaluation.tasks import RetrievalTask

Run = Callable[..., tuple[int, str]]
CPU = torch.device("cpu")
HELD_OUT = 24
ROWS = [
    {"query": " ".join(words[:3]), "positive": " ".join(words[2:])}
    for words in (random.Random(number).choices(WORDS, k=9) for number in range(120))
]
COMMON = (
    "--dataset.path=pairs.jsonl",
    f"--dataset.eval_samples={HELD_OUT}",
    "--datacollator=pairs",
    "--datacollator.pack_sequences=false",
    "--loss=info_nce",
    "--optimizer=adamw",
    "--optimizer.lr=0.003",
    "--trainer.max_steps=4",
    "--dataset.role_prefixes.query=find",
)


@pytest.fixture
def train(go: Run) -> Run:
    """The recipe on pairs, with an info_nce loss."""
    Path("pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return lambda *more: go(*COMMON, *more)


def logged(folder: str = "run") -> list[dict[str, float]]:
    lines = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if any(name.startswith("eval/") for name in line)]


def test_figures_before_and_after(train: Run) -> None:
    status, said = train()
    assert status == 0
    for line in logged():
        names = {name.removeprefix("eval/") for name in line if name.startswith("eval/")}
        assert {"loss", "mrr@10", "recall@1", "recall@10", "recall@100", "ndcg@10", "alignment", "uniformity"} <= names
        assert "perplexity" not in names
    assert "held-out embeddings" in said
    assert "unigram" not in said
    assert "masked" not in said
    assert "neobert-run --evaluate run --tasks retrieval=PAIRS.jsonl" in said
    assert "as sentence-transformers" in said


def test_words_stand_beside_the_run_and_are_those_of_the_command(train: Run) -> None:
    _, said = train("--trainer.eval_train_candidates=1000", "--trainer.eval_steps=2")
    found = json.loads(Path("run/summary.json").read_text())["evaluations"]
    columns = ("before", "after", "TF-IDF", "BM25")
    assert set(found) == set(columns)
    for name, rows in (("", ROWS[:HELD_OUT]), ("all/", ROWS)):
        builder = RetrievalBuilder()
        for row in rows[:HELD_OUT]:
            builder.add(row["query"], row["positive"], 1.0)
        for row in rows:
            builder.candidate(row["positive"])
        for who, figures in builder.build().ranked_by_words().items():
            assert {figure: found[who][name + figure] for figure in figures} == figures
    candidates = len({row["positive"] for row in ROWS})
    assert {figures["all/candidates"] for figures in found.values()} == {candidates}
    assert found["before"].keys() == found["after"].keys()
    assert "all/mrr@10" not in logged()[1], "between the ends it would cost too much"
    table = said[said.rindex("held-out embeddings") :].replace("│", "|").replace("┃", "|").splitlines()
    head, row, count = (
        [cell.strip() for cell in next(line for line in table if word in line).strip("| ").split("|")]
        for word in ("TF-IDF", "all/mrr@10", "all/candidates")
    )
    assert head == list(columns)
    assert row == ["all/mrr@10", *(f"{found[who]['all/mrr@10']:.4f}" for who in columns)]
    assert count == ["all/candidates", *[str(candidates)] * 4]


def test_words_of_a_mixture_are_those_of_all_its_sources(train: Run, go: Run) -> None:
    sources = {"first": ROWS[:70], "second": ROWS[70:]}
    for name, rows in sources.items():
        Path(f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    tables = ", ".join(f'{name} = {{name = "files", path = "{name}.jsonl"}}' for name in sources)
    few = ", ".join(f"{name} = {{eval_samples = 10}}" for name in sources)
    mixture = f'{{name = "mix", sources = {{{tables}}}, select = {{{few}}}}}'
    plain = [word for word in COMMON if not word.startswith("--dataset.")]
    go(*plain, f"--dataset={mixture}", "--dataset.eval_samples=none", "--trainer.eval_train_candidates=1000")
    found = json.loads(Path("run/summary.json").read_text())["evaluations"]
    builder = RetrievalBuilder()
    for rows in sources.values():
        for row in rows[:10]:
            builder.add(row["query"], row["positive"], 1.0)
    for prefix, rows in (("", []), ("all/", ROWS)):
        for row in rows:
            builder.candidate(row["positive"])
        for who, figures in builder.build().ranked_by_words().items():
            assert {figure: found[who][prefix + figure] for figure in figures} == figures


def test_among_what_is_trained_on_against_another_way(train: Run) -> None:
    """The opened model, told the same candidates as files."""
    train("--trainer.eval_train_candidates=1000")
    lines = [{**row, "negatives": [other["positive"] for other in ROWS]} for row in ROWS[:HELD_OUT]]
    Path("held-out.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = RetrievalTask(read_pairs(Path("held-out.jsonl"))).of_model(open_model(Path("run"), CPU))
    for name in ("mrr@10", "recall@1", "recall@10", "ndcg@10"):
        assert logged()[-1][f"eval/all/{name}"] == pytest.approx(found[name], abs=1e-5), name


def test_what_was_measured_before_is_known_to_a_run_that_goes_on(train: Run) -> None:
    few = ("--trainer.eval_train_candidates=10", "--trainer.save_steps=2")
    train(*few)
    before = json.loads(Path("run/summary.json").read_text())["evaluations"]
    assert before["after"]["all/candidates"] == HELD_OUT + 10
    train(*few, "--trainer.resume_from_checkpoint=2")
    assert json.loads(Path("run/summary.json").read_text())["evaluations"] == before


def test_candidates_that_there_cannot_be_are_refused(train: Run) -> None:
    with pytest.raises(UserError, match=r"eval_train_candidates = 9: the training rows are a stream"):
        train("--trainer.eval_train_candidates=9", "--dataset.streaming=true", "--trainer.output_dir=streamed")
    with pytest.raises(UserError, match="reports no such metric"):
        train("--trainer.eval_train_candidates=9", "--trainer.metric_for_best=eval/all/mrr@10")


def test_figures_are_those_of_the_command(train: Run) -> None:
    """The same held-out pairs, the same model, another way: files, and a model that is opened."""
    train()
    Path("held-out.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS[:HELD_OUT]))
    found = RetrievalTask(read_pairs(Path("held-out.jsonl"))).of_model(open_model(Path("run"), CPU))
    last = logged()[-1]
    for name in ("mrr@10", "recall@1", "recall@10", "ndcg@10", "alignment"):
        assert found[name] == pytest.approx(last[f"eval/{name}"], abs=1e-5), name


def test_the_export_opens_and_embeds_as_the_checkpoint_does(train: Run) -> None:
    train("--loss.projection_size=8", "--loss.pooling=weighted_mean")
    ours = open_model(Path("run/checkpoints/4"), CPU)
    theirs = SentenceTransformer("run/model_checkpoints/4")
    texts = [row["positive"] for row in ROWS[:5]]
    for kind, encode in (("query", theirs.encode_query), ("document", theirs.encode_document), ("text", theirs.encode)):
        torch.testing.assert_close(ours.embed(texts, kind), torch.from_numpy(encode(texts)), rtol=0, atol=1e-5)
    assert not torch.allclose(ours.embed(texts, "query"), ours.embed(texts, "document"))
    assert "| mrr@10 |" in Path("run/model_checkpoints/4/README.md").read_text()


def test_one_of_no_native_architecture_is_opened_all_the_same(train: Run) -> None:
    status, said = train("--model.ngpt=true", "--loss.projection_size=8")
    assert status == 0
    assert "neither transformers nor sentence-transformers opens it" in said
    models = [open_model(Path("run", folder, "4"), CPU) for folder in ("checkpoints", "model_checkpoints")]
    first, second = (model.embed(["the list", "a key"], "query") for model in models)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_the_best_by_a_figure(train: Run) -> None:
    train("--trainer.eval_steps=1", "--trainer.metric_for_best=eval/mrr@10", "--trainer.save_total_limit=1")
    best = json.loads(Path("run/best.json").read_text())
    values = {int(line["step"]): line["eval/mrr@10"] for line in logged() if line["step"] > 0}
    assert best["value"] == max(values.values())
    assert best["step"] == min(step for step, value in values.items() if value == best["value"])
    assert (Path("run") / best["folders"][0]).is_dir()


def test_a_figure_that_such_a_run_lacks_is_refused(train: Run) -> None:
    with pytest.raises(UserError, match=r"did you mean eval/mrr@10\?"):
        train("--trainer.metric_for_best=eval/mrr@1")


def test_a_resumed_run_measures_the_same(train: Run) -> None:
    train("--trainer.eval_steps=1")
    train("--trainer.eval_steps=1", "--trainer.output_dir=other", "--trainer.save_steps=2")
    train(
        "--trainer.eval_steps=1",
        "--trainer.output_dir=other",
        "--trainer.save_steps=2",
        "--trainer.resume_from_checkpoint=2",
    )
    assert logged("other") == logged("run")


def test_scored_pairs_have_a_correlation(train: Run) -> None:
    rows = [{"sentence1": row["query"], "sentence2": row["positive"], "score": n % 7} for n, row in enumerate(ROWS)]
    Path("pairs.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    # A prefix of a role that this collator does not take is refused, so there is none here.
    common = [word for word in COMMON if "prefixes" not in word and "loss" not in word and "=pairs" not in word]
    from neobert.recipe import load_recipe
    from neobert.training.run import run

    words = [*common, "--datacollator=scored_pairs", "--loss=cosent", "--dataset.path=pairs.jsonl"]
    assert run(load_recipe(Path("recipe.toml"), words)) == 0
    assert "eval/spearman" in logged()[-1]
    assert "eval/mrr@10" not in logged()[-1]
