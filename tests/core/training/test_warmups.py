"""A run that warms up: logged, resumed bit for bit at any step, and refused where its past would be another."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from rich.console import Console

from neobert.cli import main
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.inspect import describe
from neobert.training.profile import profile

Run = Callable[..., tuple[int, str]]
STATE = "checkpoints/8/state.safetensors"
TIMED = ("train/tokens_per_second", "train/data_wait_share")
LONG = {"dataset.max_seq_length": 192, "model.max_position_embeddings": 192, "trainer.logging_steps": 1}
"""For documents that are longer than those of the usual corpus: see `long_documents`."""
WARM = LONG | {
    "trainer.max_steps": 8,
    "trainer.gradient_accumulation_steps": 3,
    "trainer.batch_size_warmup_steps": 4,
    "trainer.length_warmup_steps": 6,
    "trainer.length_warmup_start": 32,
}
MICRO_BATCHES = [1, 1, 2, 2, 3, 3, 3, 3]
TOKENS = [32, 32, 64, 64, 128, 128, 192, 192]


@pytest.fixture(autouse=True)
def long_documents(workdir: Path) -> None:
    lines = Path("corpus.txt").read_text(encoding="utf-8").splitlines()
    text = "\n".join(" ".join(lines[place : place + 9]) for place in range(0, len(lines), 3))
    Path("corpus.txt").write_text(text + "\n", encoding="utf-8")


def words(*tables: Mapping[str, object]) -> list[str]:
    """Overrides of these keys, where a later table's value stands for an earlier one's."""
    return [f"--{key}={value}" for key, value in {k: v for table in tables for k, v in table.items()}.items()]


def lines_of(run: str) -> list[dict[str, float]]:
    """Every metric line, without what depends on the clock."""
    found = map(json.loads, (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{k: v for k, v in line.items() if k not in TIMED} for line in found]


def trained(run: str) -> list[dict[str, float]]:
    return [line for line in lines_of(run) if "train/loss" in line]


def test_what_grows_is_logged_and_said(go: Run) -> None:
    status, said = go(*words(WARM))
    assert status == 0
    logged = trained("run")
    assert [line["train/micro_batches"] for line in logged] == MICRO_BATCHES
    assert [line["train/max_seq_length"] for line in logged] == TOKENS
    tokens = [line["train/tokens_seen"] for line in logged]
    each = [after - before for before, after in zip([0, *tokens], tokens, strict=False)]
    # 4 x 192 tokens a micro-batch, however they are cut, but for a few of padding
    assert all(0.95 * count * 768 < found <= count * 768 for count, found in zip(MICRO_BATCHES, each, strict=True))
    assert "batch-size warm-up: 1 micro-batch a step at step 0, 3 from step 4 on" in said
    assert "length warm-up: 32 tokens a sequence at step 0, 192 from step 6 on" in said
    assert "length 32  micro-batches 1" in said


def test_without_warm_ups_nothing_of_them_is_logged(go: Run) -> None:
    _, said = go(*words(LONG, {"trainer.max_steps": 2}))
    assert not {key for line in lines_of("run") for key in line if "micro_batches" in key or "seq_length" in key}
    assert "warm-up" not in said


def test_each_alone_logs_itself(go: Run) -> None:
    short = LONG | {"trainer.max_steps": 2}
    go(*words(short, {"trainer.length_warmup_steps": 3}))
    go(*words(short, {"trainer.batch_size_warmup_steps": 3, "trainer.output_dir": "other"}))
    assert {"train/max_seq_length"} == set(trained("run")[0]) - set(trained("other")[0])
    assert {"train/micro_batches"} == set(trained("other")[0]) - set(trained("run")[0])


@pytest.mark.parametrize("kind", [(), ("--dataset.streaming=true", "--datacollator.packing_window=40")])
@pytest.mark.parametrize("packed", [True, False])
def test_any_step_inside_goes_on_bit_for_bit(go: Run, kind: tuple[str, ...], packed: bool) -> None:
    warm = (*words(WARM), *kind, f"--datacollator.pack_sequences={str(packed).lower()}")
    go(*warm, "--trainer.output_dir=whole", "--trainer.save_steps=1")
    expected = lines_of("whole")
    places = [(1, 0), (3, 2), (5, 0), (6, 0)] if packed else [(3, 0)]
    for step, workers in places:
        resumed = f"resumed{step}"
        status, _ = go(
            *warm,
            f"--trainer.output_dir={resumed}",
            f"--trainer.resume_from_checkpoint=whole/checkpoints/{step}",
            f"--dataset.num_workers={workers}",
        )
        assert status == 0
        assert Path("whole", STATE).read_bytes() == Path(resumed, STATE).read_bytes()
        assert lines_of(resumed) == [line for line in expected if line["step"] > step]


def test_evaluation_is_on_whole_sequences(go: Run) -> None:
    go(*words(WARM, {"trainer.max_steps": 2}))
    go(*words(LONG, {"trainer.max_steps": 2, "trainer.output_dir": "plain"}))
    before = [[line for line in lines_of(run) if line["step"] == 0] for run in ("run", "plain")]
    assert before[0] == before[1] != []


def test_one_size_is_compiled_throughout(go: Run) -> None:
    status, said = go(*words(WARM), "--trainer.torch_compile=true", "--trainer.torch_compile_backend=eager")
    assert status == 0
    assert "compiled" not in said


@pytest.mark.parametrize(
    ("key", "old", "new", "said"),
    [
        ("length_warmup_steps", "6", "3", "(step 1, which is done, had 32 tokens, and would have 64)"),
        ("length_warmup_start", "32", "33", "(step 0, which is done, had 32 tokens, and would have 33)"),
        ("batch_size_warmup_steps", "4", "2", "(step 1, which is done, had 1 micro-batch, and would have 2)"),
        ("batch_size_warmup_start", "unset", "2", "(step 0, which is done, had 1 micro-batch, and would have 2)"),
        ("batch_size_warmup_steps", "4", "unset", "(step 0, which is done, had 1 micro-batch, and would have 3)"),
    ],
)
def test_a_warm_up_that_differs_at_a_step_done_is_refused(go: Run, key: str, old: str, new: str, said: str) -> None:
    go(*words(WARM, {"trainer.max_steps": 2}))
    changed = {f"trainer.{key}": "none" if new == "unset" else new, "trainer.resume_from_checkpoint": "latest"}
    with pytest.raises(UserError) as refused:
        go(*words(WARM, changed))
    assert f"trainer.{key}: {old} -> {new} {said}" in str(refused.value)
    assert f"""--trainer.allow_changes '["trainer.{key}"]'""" in str(refused.value)
    assert go(*words(WARM, changed, {"trainer.allow_changes": f"['trainer.{key}']"}))[0] == 0


LATER = {"trainer.batch_size_warmup_steps": 5, "trainer.length_warmup_steps": 7}


def test_a_warm_up_that_differs_only_later_goes_on(go: Run) -> None:
    go(*words(WARM, {"trainer.max_steps": 2}))
    status, said = go(*words(WARM, LATER, {"trainer.resume_from_checkpoint": "latest"}))
    assert status == 0
    assert "changed since the checkpoint: trainer.length_warmup_steps: 6 -> 7" in said
    go(*words(WARM, LATER, {"trainer.output_dir": "whole"}))
    assert Path("whole", STATE).read_bytes() == Path("run", STATE).read_bytes()


def test_taking_a_finished_warm_up_away_is_still_another_past(go: Run) -> None:
    go(*words(WARM, {"trainer.max_steps": 7}))
    without = {key: value for key, value in WARM.items() if "warmup" not in key}
    with pytest.raises(UserError) as refused:
        go(*words(without, {"trainer.resume_from_checkpoint": "latest"}))
    assert "trainer.length_warmup_steps: 6 -> unset" in str(refused.value)
    assert "trainer.batch_size_warmup_steps: 4 -> unset" in str(refused.value)


def test_what_a_check_says_of_them() -> None:
    rows = dict(describe(load_recipe(Path("recipe.toml"), words(WARM))))
    assert rows["batch-size warm-up"] == "1 micro-batch a step at step 0, 3 from step 4 on"
    assert rows["length warm-up"] == "32 tokens a sequence at step 0, 192 from step 6 on"
    assert not [what for what, _ in describe(load_recipe(Path("recipe.toml"))) if "warm-up" in what]


def test_batches_are_shown_with_their_pieces(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(("recipe.toml", "--show-batch", "4", *words(WARM))) == 0
    said = capfd.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("step")] == [
        "step 0, micro-batch 0 (length warm-up: sequences of over 32 tokens in pieces)",
        "step 1, micro-batch 0 (length warm-up: sequences of over 32 tokens in pieces)",
        "step 2, micro-batch 0 (length warm-up: sequences of over 64 tokens in pieces)",
        "step 2, micro-batch 1 (length warm-up: sequences of over 64 tokens in pieces)",
    ]
    assert "to 32 tokens (median 32)" in said


def test_the_report_and_the_audit_count_the_steps_that_there_are(capfd: pytest.CaptureFixture[str]) -> None:
    epochs = []
    for steps in (4, "none"):
        warm = words(WARM, {"trainer.batch_size_warmup_steps": steps})
        assert main(("recipe.toml", "--data-report", *warm)) == 0
        said = capfd.readouterr().out
        epochs.append(float(said.partition("trainer.max_steps = 8: about ")[2].split()[0]))
    assert epochs[0] / epochs[1] == pytest.approx(sum(MICRO_BATCHES) / 24, abs=0.02)
    assert "length warm-up: 32 tokens a sequence" in said
    assert main(("recipe.toml", "--audit-data", "8", *words(WARM))) == 0
    assert "which make them up token by token" in capfd.readouterr().out


def test_a_profile_says_that_it_is_of_the_warm_ups(capsys: pytest.CaptureFixture[str]) -> None:
    profile(load_recipe(Path("recipe.toml"), words(WARM)), 1, Console())
    said = capsys.readouterr().out
    assert "these are the run's first steps, inside its length warm-up: 32 tokens" in " ".join(said.split())
