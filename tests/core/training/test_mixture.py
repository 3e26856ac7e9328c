"""A run on a mixture: logged source by source, resumed bit for bit, ended where it says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.errors import UserError

Run = Callable[..., tuple[int, str]]
STATE = "checkpoints/6/state.safetensors"
MIX = """
name = "mix"
weights = { lines = 0.7, bodies = 0.3 }
select = { lines = { eval_samples = 8 }, bodies = { min_length = 3, eval_samples = 6 } }
sources.lines = { name = "files", path = "corpus.txt" }
sources.bodies = { name = "files", path = "bodies.jsonl" }
"""


@pytest.fixture
def mixed(workdir: Path) -> None:
    """Makes the recipe's dataset a mixture of its corpus and another."""
    rng, words = random.Random(1), Path("corpus.txt").read_text().split()
    rows = (json.dumps({"body": " ".join(rng.choices(words, k=rng.randint(1, 60)))}) for _ in range(60))
    Path("bodies.jsonl").write_text("\n".join(rows), encoding="utf-8")
    recipe = Path("recipe.toml").read_text()
    for line in ('name = "files"\n', 'path = "corpus.txt"\n', "eval_samples = 8\n"):
        recipe = recipe.replace(line, "")
    Path("recipe.toml").write_text(recipe.replace("[dataset]", "[dataset]" + MIX))


def lines(run: str) -> list[dict[str, float]]:
    """Every metric line, without what depends on the clock."""
    found = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "per_second" not in k and "wait" not in k} for line in found]


def test_sources_are_logged_evaluated_and_summed_up(go: Run, mixed: None) -> None:
    status, said = go("--trainer.logging_steps=1")
    assert status == 0
    logged = [line for line in lines("run") if "train/loss" in line]
    counts = [(line["train/mix/lines"], line["train/mix/bodies"]) for line in logged]
    assert counts == sorted(counts)
    assert counts[-1][0] / sum(counts[-1]) == pytest.approx(0.7, abs=0.03)
    assert 0 < logged[-1]["train/mix_epoch/bodies"] < logged[-1]["train/mix_epoch/lines"] < 1
    evaluated = [line for line in lines("run") if "eval/loss" in line]
    assert all(
        min(line["eval/loss/lines"], line["eval/loss/bodies"])
        < line["eval/loss"]
        < max(line["eval/loss/lines"], line["eval/loss/bodies"])
        for line in evaluated
    )
    assert "source bodies: 30.00% of the tokens trained on" in said
    assert f"source lines: {counts[-1][0]:,.0f} tokens trained on" in said
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["mixture"] == {"lines": counts[-1][0], "bodies": counts[-1][1]}


@pytest.mark.parametrize("workers", [0, 2])
def test_any_step_goes_on_bit_for_bit(go: Run, mixed: None, workers: int) -> None:
    go("--trainer.output_dir=whole", "--trainer.save_steps=1")
    expected = lines("whole")
    for step in (1, 3, 5) if workers == 0 else (3,):
        status, _ = go(
            f"--trainer.output_dir=resumed{step}",
            f"--trainer.resume_from_checkpoint=whole/checkpoints/{step}",
            f"--dataset.num_workers={workers}",
        )
        assert status == 0
        assert Path("whole", STATE).read_bytes() == Path(f"resumed{step}", STATE).read_bytes()
        assert lines(f"resumed{step}") == [line for line in expected if line["step"] > step]


def test_a_run_ends_where_a_source_does(go: Run, mixed: None) -> None:
    status, said = go("--dataset.when_exhausted=stop", "--trainer.max_steps=500", "--trainer.logging_steps=7")
    assert status == 0
    assert "a source has run out: the run ends at step" in said
    last = [line for line in lines("run") if "train/loss" in line][-1]
    assert last["step"] < 60
    assert max(last["train/mix_epoch/lines"], last["train/mix_epoch/bodies"]) == pytest.approx(1.0, abs=0.1)
    assert lines("run")[-1].keys() >= {"eval/loss/lines"}, "evaluated at the end"
    assert Path(f"run/checkpoints/{last['step']}").is_dir()
    with pytest.raises(UserError, match="nothing is left to train on"):
        go(
            "--dataset.when_exhausted=stop",
            "--trainer.max_steps=500",
            "--trainer.logging_steps=7",
            "--trainer.resume_from_checkpoint=latest",
        )


def test_other_weights_change_the_past(go: Run, mixed: None) -> None:
    go("--trainer.save_steps=1")
    with pytest.raises(UserError, match=r"dataset\.weights"):
        go(
            "--trainer.max_steps=9",
            "--trainer.resume_from_checkpoint=latest",
            "--dataset.weights.lines=0.5",
        )


def test_a_filter_that_leaves_nothing_names_its_source(go: Run, mixed: None) -> None:
    with pytest.raises(UserError, match=r"source 'bodies' has nothing to train on: of 54 documents .*min_length = 500"):
        go("--dataset.select.bodies.min_length=500")
