"""Runs of several objectives: steps in turns, each objective's data, losses and evaluations apart, one encoder."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from tests.conftest import WORDS, objectives_recipe
from transformers import AutoModelForMaskedLM

from neobert.data import Turns
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.preprocess import preprocess

Run = Callable[..., tuple[int, str]]
TIMED = ("tokens_per_second", "data_wait_share")


@pytest.fixture
def train(go: Run) -> Run:
    """The tiny recipe with two objectives."""
    rows = [random.Random(number).choices(WORDS, k=9) for number in range(60)]
    lines = (json.dumps({"query": " ".join(row[:4]), "positive": " ".join(row[3:])}) for row in rows)
    Path("pairs.jsonl").write_text("\n".join(lines) + "\n")
    Path("recipe.toml").write_text(objectives_recipe("temperature = 0.1, projection_size = 8"))
    return go


def lines(run: str = "run") -> list[dict[str, Any]]:
    found = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith(TIMED)} for line in found]


def taken(steps: int) -> list[str]:
    turns = Turns({"mlm": 0.4, "pairs": 0.6}, 42)
    return [turns.at(step) for step in range(steps)]


def test_counts_and_losses_are_apart(train: Run) -> None:
    status, said = train("--trainer.logging_steps=1")
    assert status == 0
    turns = taken(6)
    assert set(turns) == {"mlm", "pairs"}
    logs = [line for line in lines() if "train/learning_rate" in line]
    for step, (line, objective) in enumerate(zip(logs, turns, strict=True), start=1):
        other = "pairs" if objective == "mlm" else "mlm"
        assert f"train/{objective}/loss" in line
        assert f"train/{other}/loss" not in line
        assert "train/loss" not in line
        counts = {name: line[f"train/{name}/steps"] for name in ("mlm", "pairs")}
        assert counts == {name: turns[:step].count(name) for name in counts}
    last = next(line for line in reversed(lines()) if "eval/mlm/loss" in line)
    assert {"eval/mlm/perplexity", "eval/pairs/loss", "eval/pairs/mrr@10"} <= set(last)
    assert "objective mlm\nheld-out masked-token loss" in said
    assert "objective pairs\nheld-out embeddings" in said
    assert f"objective pairs: {turns.count('pairs')} steps" in said
    assert json.loads(Path("run/summary.json").read_text())["objectives"] == dict(Counter(turns))


def test_each_objective_is_trained_on_its_own_data(train: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of one objective alone, with the steps of the other left out of its weights, trains on the same batches."""
    from neobert.training import loop

    seen: list[tuple[str, int]] = []
    update = loop.update

    def watched(parts: Any, data: Any, position: Any, trainer: Any) -> Any:
        ids = torch.cat([micro.batch.input_ids for micro in data.micro_batches])
        seen.append((data.objective, int(ids.sum())))
        return update(parts, data, position, trainer)

    monkeypatch.setattr(loop, "update", watched)
    train()
    assert [name for name, _ in seen] == taken(6)
    both = list(seen)
    seen.clear()
    train("--trainer.output_dir=again", "--objectives.mlm.dataset.num_workers=1")
    assert seen == both


@pytest.mark.parametrize("step", [1, 3, 5])
def test_any_step_goes_on_bit_for_bit(train: Run, step: int) -> None:
    train("--trainer.output_dir=whole", "--trainer.save_steps=1")
    train("--trainer.output_dir=resumed", f"--trainer.resume_from_checkpoint=whole/checkpoints/{step}")
    state = "checkpoints/6/state.safetensors"
    assert Path("whole", state).read_bytes() == Path("resumed", state).read_bytes()
    assert lines("resumed") == [line for line in lines("whole") if line["step"] > step]


def test_a_checkpoint_of_other_objectives_is_refused(train: Run) -> None:
    train("--trainer.max_steps=3")
    changes = {
        "objectives.mlm.probability": ("--objectives.mlm.probability=0.3", "--objectives.pairs.probability=0.7"),
        "objectives.pairs.loss.temperature": ("--objectives.pairs.loss.temperature=0.2",),
    }
    for key, overrides in changes.items():
        with pytest.raises(UserError, match=key):
            train(*overrides, "--trainer.resume_from_checkpoint=latest")


def test_the_export_has_both_heads(train: Run) -> None:
    train()
    folder = "run/model_checkpoints/6"
    assert AutoModelForMaskedLM.from_pretrained(folder).config.vocab_size == 128
    assert SentenceTransformer(folder).encode(["the list"]).shape == (1, 8)


def test_weights_go_to_the_same_objectives(train: Run) -> None:
    train()
    status, said = train("--model.weights=run", "--trainer.output_dir=next", "--trainer.max_steps=3")
    assert status == 0
    assert "afresh" not in said
    saved = load_file("run/checkpoints/6/state.safetensors")
    assert {name for name in saved if name.startswith("losses.")} == {"losses.pairs.embedder.projection.weight"}


def test_weights_of_one_objective_go_to_the_one_that_has_its_head(train: Run) -> None:
    train("--objectives.pairs=none", "--objectives.mlm.probability=1.0", "--trainer.output_dir=first")
    tokenizer = "--tokenizer={name = 'pretrained', path = 'first', pad_vocab_to_multiple_of = 64}"
    status, said = train("--model.weights=first", tokenizer, "--trainer.max_steps=3")
    assert status == 0
    assert "the loss's projection starts afresh" in said


def test_the_guard_judges_each_by_its_own(train: Run) -> None:
    """Losses of 5.7 and of 2 take turns: neither is a spike of the other."""
    status, said = train(
        "--trainer.max_steps=40",
        "--optimizer.lr=0.0001",
        "--trainer.gradient_accumulation_steps=1",
        "--trainer.guard.action=skip",
        "--trainer.guard.threshold=12",
        "--trainer.guard.window=10",
    )
    assert status == 0
    assert "skipped" not in said


def test_preprocessing_gives_a_table_for_each(train: Run) -> None:
    done = preprocess(load_recipe("recipe.toml"), Path("ready"))
    assert done.tables is not None
    train("--trainer.output_dir=whole")
    text = Path("recipe.toml").read_text().replace("[tokenizer]\nvocab_size = 300\n", "")
    kept = [line for line in text.splitlines() if not line.startswith("dataset = ")]
    Path("recipe.toml").write_text("\n".join(kept) + f"\n{done.tables}")
    train("--trainer.output_dir=prepared")
    assert lines("prepared") == lines("whole")


def test_the_best_by_one_objectives_figure(train: Run) -> None:
    train("--trainer.eval_steps=2", "--trainer.metric_for_best=eval/pairs/mrr@10")
    assert json.loads(Path("run/best.json").read_text())["metric"] == "eval/pairs/mrr@10"
