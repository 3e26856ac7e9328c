"""Going on from any step ends with the bits of the unbroken run; what would change the past is refused."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from neobert.data import TrainingData
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.run import run

Run = Callable[..., tuple[int, str]]
STATE = "checkpoints/6/state.safetensors"
TIMED = ("train/tokens_per_second", "train/data_wait_share")


def _lines(run: str) -> list[dict[str, float]]:
    """Every metric line, without what depends on the clock."""
    text = (Path(run) / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMED} for line in lines]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_step_goes_on_bit_for_bit(go: Run, workers: int) -> None:
    go("--trainer.output_dir=whole", "--trainer.save_steps=1")
    expected = _lines("whole")
    for step in (1, 2, 3, 5) if workers == 0 else (3,):
        resumed = f"resumed{step}"
        status, said = go(
            f"--trainer.output_dir={resumed}",
            f"--trainer.resume_from_checkpoint=whole/checkpoints/{step}",
            f"--dataset.num_workers={workers}",
        )
        assert status == 0
        assert f"at step {step}" in said
        assert Path("whole", STATE).read_bytes() == Path(resumed, STATE).read_bytes()
        assert _lines(resumed) == [line for line in expected if line["step"] > step]


def test_a_signal_saves_and_the_same_folder_goes_on(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    go("--trainer.output_dir=whole")
    steps = TrainingData.steps

    def interrupted(self: TrainingData, cursor: object, first_step: int) -> object:
        for data in steps(self, cursor, first_step):
            if data.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield data

    with monkeypatch.context() as patch:
        patch.setattr(TrainingData, "steps", interrupted)
        status, said = go()
    assert status == 143
    assert "stopped by a signal at step 3 of 6" in said
    assert "neobert-run recipe.toml --trainer.resume_from_checkpoint latest\n" in said
    status, said = go("--trainer.resume_from_checkpoint=latest")
    assert status == 0
    assert Path("run", STATE).read_bytes() == Path("whole", STATE).read_bytes()
    assert _lines("run") == _lines("whole")


def test_three_resumes_in_one_folder(go: Run) -> None:
    go("--trainer.output_dir=whole", "--trainer.max_steps=8")
    go("--trainer.max_steps=2")
    for until in (3, 5, 8):
        go(f"--trainer.max_steps={until}", "--trainer.resume_from_checkpoint=latest")
    assert (
        Path("run/checkpoints/8/state.safetensors").read_bytes()
        == Path("whole/checkpoints/8/state.safetensors").read_bytes()
    )


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("--trainer.seed=7", "trainer.seed"),
        ("--model.dropout_prob=0.0", "model.dropout_prob"),
        ("--dataset.max_seq_length=16", "dataset.max_seq_length"),
        ("--datacollator.mask_all=true", "datacollator.mask_all"),
        ("--optimizer.lr=0.5", "optimizer.lr"),
        ("--trainer.gradient_accumulation_steps=1", "trainer.gradient_accumulation_steps"),
        ("--scheduler.warmup_steps=3", "schedule differs at step 0"),
    ],
)
def test_a_changed_past_is_refused_by_name(go: Run, override: str, named: str) -> None:
    go("--trainer.max_steps=2")
    before = sorted(Path("run").rglob("*"))
    with pytest.raises(UserError, match=named) as refused:
        go("--trainer.resume_from_checkpoint=latest", override)
    assert "allow_changes" in str(refused.value)
    assert sorted(Path("run").rglob("*")) == before


def test_what_no_permission_mends_is_refused(go: Run) -> None:
    go("--trainer.max_steps=2")
    before = sorted(Path("run").rglob("*"))
    for override, table, said in (
        ("--model.hidden_size=64", "model", r"another shape(.|\n)*expected float32 \(128, 64\)"),
        ("--optimizer=adamw", "optimizer", r"the state of optimizer 'muon'(.|\n)*--model.weights run/checkpoints/2"),
    ):
        with pytest.raises(UserError, match=said):
            go("--trainer.resume_from_checkpoint=latest", override, f"--trainer.allow_changes=['{table}']")
    assert sorted(Path("run").rglob("*")) == before


def test_going_on_is_no_part_of_the_recipe_that_is_written(go: Run) -> None:
    go("--trainer.max_steps=2")
    _, said = go("--trainer.resume_from_checkpoint=2", "--trainer.max_steps=3")
    assert "trainer.max_steps: 2 -> 3" in said
    assert "resume_from_checkpoint" not in said
    for file in ("run/recipe.toml", "run/checkpoints/3/recipe.toml"):
        assert load_recipe(file).trainer.resume_from_checkpoint is None
    # Where a run began in another folder's checkpoint, that is what it does, and what it is run again with.
    go("--trainer.resume_from_checkpoint=run/checkpoints/2", "--trainer.max_steps=3", "--trainer.output_dir=branch")
    go("--trainer.resume_from_checkpoint=latest", "--trainer.max_steps=4", "--trainer.output_dir=branch")
    recipe = load_recipe("branch/recipe.toml", ["--trainer.output_dir=again"])
    assert recipe.trainer.resume_from_checkpoint == str(Path("run/checkpoints/2").absolute())
    assert run(recipe, Console(file=io.StringIO())) == 0
    state = "checkpoints/4/state.safetensors"
    assert Path("again", state).read_bytes() == Path("branch", state).read_bytes()


def test_the_written_recipe_runs_again_from_anywhere(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    go("--trainer.max_steps=2")
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert run(load_recipe("../run/recipe.toml", ["--trainer.output_dir=again"]), Console(file=io.StringIO())) == 0
    state = "checkpoints/2/state.safetensors"
    assert Path("again", state).read_bytes() == Path("../run", state).read_bytes()


def test_a_change_that_is_meant_goes_on(go: Run) -> None:
    go("--trainer.max_steps=2")
    status, said = go(
        "--trainer.resume_from_checkpoint=latest", "--optimizer.lr=0.5", "--trainer.allow_changes=['optimizer.lr']"
    )
    assert status == 0
    assert "optimizer.lr" in said


def test_other_content_under_the_same_recipe_is_refused(go: Run) -> None:
    go("--trainer.max_steps=2")
    with Path("corpus.txt").open("a", encoding="utf-8") as file:
        file.write("one more document with a few words\n")
    with pytest.raises(UserError, match="its content differs") as refused:
        go("--trainer.resume_from_checkpoint=latest", "--trainer.allow_changes=['trainer.seed']")
    # All in one answer, and what was allowed before stays so.
    assert """--trainer.allow_changes '["trainer.seed", "dataset", "tokenizer"]'""" in str(refused.value)


def test_damage_is_named_and_the_newest_intact_one_is_used(go: Run) -> None:
    go("--trainer.max_steps=4", "--trainer.save_steps=2")
    state = Path("run/checkpoints/4/state.safetensors")
    damaged = bytearray(state.read_bytes())
    damaged[-1] ^= 1
    state.write_bytes(damaged)
    status, said = go("--trainer.resume_from_checkpoint=latest")
    assert status == 0
    assert "checkpoints/4 is damaged" in said
    assert "at step 2" in said
    assert Path("run/superseded/001/checkpoints/4").is_dir()
    with pytest.raises(UserError, match="is damaged"):
        go("--trainer.resume_from_checkpoint=run/superseded/001/checkpoints/4", "--trainer.output_dir=other")


def test_none_intact_is_refused_and_none_at_all_starts_over(go: Run) -> None:
    status, said = go("--trainer.resume_from_checkpoint=latest", "--trainer.max_steps=2")
    assert status == 0
    assert "starting at step 0" in said
    Path("run/checkpoints/2/progress.json").unlink()
    with pytest.raises(UserError, match=r"no checkpoint of run is intact"):
        go("--trainer.resume_from_checkpoint=latest", "--trainer.max_steps=4")


def test_a_step_that_is_not_there(go: Run) -> None:
    go("--trainer.max_steps=2")
    with pytest.raises(UserError, match=r"checkpoints in run/checkpoints: 2"):
        go("--trainer.resume_from_checkpoint=1")
    with pytest.raises(UserError, match="did you mean `latest`"):
        go("--trainer.resume_from_checkpoint=lastest")
    with pytest.raises(UserError, match="nothing is left to do"):
        go("--trainer.resume_from_checkpoint=2", "--trainer.max_steps=2")


def test_a_second_run_in_a_folder_is_refused(go: Run) -> None:
    go("--trainer.max_steps=2")
    with pytest.raises(UserError, match="already holds a run"):
        go()
    shutil.copytree("run", "elsewhere")
    with pytest.raises(UserError, match="already holds a run"):
        go("--trainer.resume_from_checkpoint=elsewhere/checkpoints/2")
