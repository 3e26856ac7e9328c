"""A run on a mixture: logged source by source, resumed bit for bit, ended where it says."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.cli import main
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
    assert counts[-1][0] / sum(counts[-1]) == pytest.approx(0.7, abs=0.05)
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


def test_batches_are_shown_with_the_source_of_each_sequence(mixed: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("recipe.toml", "--show-batch", "4")) == 0
    shown = [line.split("| ")[1] for line in capsys.readouterr().out.splitlines() if "| " in line]
    beginnings = {line.split("[CLS]")[0] for line in shown if not line.endswith("of padding)")}
    assert beginnings == {"(lines) ", "(bodies) "}


STOP = ("--dataset.when_exhausted=stop", "--trainer.logging_steps=7")
LATEST = "--trainer.resume_from_checkpoint=latest"
MEANT = "--trainer.allow_changes=['dataset']"


def test_a_run_ends_where_a_source_does(go: Run, mixed: None) -> None:
    status, said = go(*STOP, "--trainer.max_steps=500", "--trainer.save_steps=7")
    assert status == 3, "max_steps was not reached"
    last = [line for line in lines("run") if "train/loss" in line][-1]
    step = int(last["step"])
    assert step < 60
    assert f"the data ends at step {step} of trainer.max_steps = 500" in said[: said.index("results:")]
    end = said[said.index("results:") :]
    assert f"has run out: the run ended at step {step} of trainer.max_steps = 500" in end
    out = "lines" if last["train/mix_epoch/lines"] > last["train/mix_epoch/bodies"] else "bodies"
    assert f"source {out!r} has run out" in end
    assert last[f"train/mix_epoch/{out}"] == pytest.approx(1.0, abs=0.1)
    assert lines("run")[-1].keys() >= {"eval/loss/lines"}, "evaluated at the end"
    assert Path(f"run/checkpoints/{step}").is_dir()
    assert Path(f"run/model_checkpoints/{step}").is_dir()
    with pytest.raises(UserError, match="nothing is left to train on"):
        go(*STOP, "--trainer.max_steps=500", LATEST)
    status, said = go("--dataset.when_exhausted=repeat", f"--trainer.max_steps={step + 3}", LATEST, MEANT)
    assert status == 0
    assert "each source goes on from its place" in said
    status, said = go(*STOP, f"--trainer.max_steps={step}", "--trainer.output_dir=whole")
    assert status == 0
    assert "has run out" not in said
    assert "the data ends" not in said


def test_other_weights_change_the_past_unless_they_are_meant(go: Run, mixed: None) -> None:
    go("--trainer.save_steps=1", "--trainer.logging_steps=1")
    changed = ("--trainer.max_steps=16", "--trainer.logging_steps=1", "--dataset.weights.lines=0.1")
    with pytest.raises(UserError, match=r"dataset\.weights"):
        go(*changed, LATEST)
    status, said = go(*changed, LATEST, MEANT)
    assert status == 0
    assert "each source goes on from its place" in said
    logged = {line["step"]: line for line in lines("run") if "train/loss" in line}
    share = _share_of_lines(logged[10], logged[16])
    assert share == pytest.approx(0.25, abs=0.05), "0.1 of 0.1 + 0.3"
    assert _share_of_lines(logged[1], logged[6]) == pytest.approx(0.7, abs=0.05)
    # That run is resumed like any other.
    go(*changed, "--trainer.output_dir=again", "--trainer.resume_from_checkpoint=run/checkpoints/16"[:-2] + "6", MEANT)
    assert lines("again") == [line for line in lines("run") if line["step"] > 6]


def _share_of_lines(before: dict[str, float], after: dict[str, float]) -> float:
    taken = [after[f"train/mix/{name}"] - before[f"train/mix/{name}"] for name in ("lines", "bodies")]
    return taken[0] / sum(taken)


def test_other_documents_are_no_change_of_a_mixture(go: Run, mixed: None) -> None:
    go("--trainer.save_steps=3")
    with pytest.raises(UserError, match="no permission makes it one"):
        go("--trainer.max_steps=9", LATEST, MEANT, "--dataset.select.bodies.min_length=9")
    with pytest.raises(UserError, match=r"per_device_train_batch_size cannot change at once"):
        go(
            "--trainer.max_steps=9",
            LATEST,
            "--trainer.allow_changes=['dataset', 'trainer']",
            "--trainer.per_device_train_batch_size=2",
            "--dataset.weights.lines=0.5",
        )


def test_a_stream_beside_stored_rows_goes_on_bit_for_bit(go: Run, mixed: None) -> None:
    stream = ("--dataset.sources.lines.streaming=true", "--trainer.logging_steps=1", "--trainer.save_steps=3")
    status, said = go(*stream, "--trainer.output_dir=whole")
    assert status == 0
    assert "in its first window" in said
    status, _ = go(*stream, "--trainer.output_dir=resumed", "--trainer.resume_from_checkpoint=whole/checkpoints/3")
    assert status == 0
    assert Path("whole", STATE).read_bytes() == Path("resumed", STATE).read_bytes()
    assert lines("resumed") == [line for line in lines("whole") if line["step"] > 3]


def test_a_filter_that_leaves_nothing_names_its_source(go: Run, mixed: None) -> None:
    with pytest.raises(UserError, match=r"source 'bodies' has nothing to train on: of 54 documents .*min_length = 500"):
        go("--dataset.select.bodies.min_length=500")
    longest = max(len(line.split()) for line in Path("bodies.jsonl").read_text().splitlines()[6:]) - 1
    with pytest.raises(UserError, match=rf"their lengths are \d+ to {longest} tokens"):
        go("--dataset.select.bodies.min_length=500")


@pytest.mark.parametrize("source", ["lines", "bodies"])
def test_a_source_that_is_not_evaluated_on_is_held_out_all_the_same(go: Run, mixed: None, source: str) -> None:
    go("--trainer.output_dir=both", "--trainer.logging_steps=1")
    go(f"--dataset.select.{source}.evaluate=false", "--trainer.logging_steps=1")
    trained = [[line for line in lines(run) if "train/loss" in line] for run in ("both", "run")]
    assert trained[0] == trained[1]
    other = "lines" if source == "bodies" else "bodies"
    for one, both in zip(lines("run"), lines("both"), strict=True):
        if "eval/loss" in one:
            assert one["eval/loss"] == one[f"eval/loss/{other}"]
            assert one["eval/loss"] == pytest.approx(both[f"eval/loss/{other}"], abs=0.2), "other masks, same rows"
            assert f"eval/loss/{source}" not in one
