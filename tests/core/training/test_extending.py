"""A run is made longer from where its schedule still knows no end; from elsewhere it is refused with the way on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.errors import UserError

Run = Callable[..., tuple[int, str]]
WSD = "--scheduler={name='wsd', warmup_steps=1, decay_steps=3}"
LATEST = "--trainer.resume_from_checkpoint=latest"


def _state(run: str, step: int) -> bytes:
    return Path(run, "checkpoints", str(step), "state.safetensors").read_bytes()


def _refusal(go: Run, *overrides: str) -> str:
    with pytest.raises(UserError, match="learning-rate schedule differs") as refused:
        go(*overrides)
    return str(refused.value)


@pytest.mark.parametrize("shape", ["linear", "cosine", "1-sqrt"])
def test_wsd_goes_on_from_its_stable_phase_and_falls_at_the_new_end(go: Run, shape: str) -> None:
    overrides = (WSD, f"--scheduler.decay_shape={shape}", "--trainer.save_steps=1")
    go(*overrides, "--trainer.max_steps=9", "--trainer.output_dir=whole")
    go(*overrides, "--trainer.max_steps=6")
    # The last checkpoint whose every step had the full rate: the fall's first step has it still.
    status, said = go(*overrides, "--trainer.max_steps=9", "--trainer.resume_from_checkpoint=4")
    assert status == 0
    assert "trainer.max_steps: 6 -> 9" in said
    for step in (6, 9):
        assert _state("run", step) == _state("whole", step)


def test_wsd_that_has_begun_to_fall_names_the_checkpoints_from_before(go: Run) -> None:
    go(WSD, "--trainer.save_steps=1")
    before = sorted(Path("run").rglob("*"))
    said = _refusal(go, WSD, LATEST, "--trainer.max_steps=9")
    assert "the fall began at step 3 of 6, and 6 steps are done" in said
    assert "trainer.max_steps = 9 it would begin at step 6" in said
    assert "resume from a checkpoint of step 3 or before" in said
    assert "checkpoints in run/checkpoints from before that: 4, 3, 2, 1\n" in said
    assert "allow_changes" in said
    assert sorted(Path("run").rglob("*")) == before
    status, _ = go(WSD, "--trainer.max_steps=9", "--trainer.resume_from_checkpoint=3")
    assert status == 0


def test_wsd_in_a_run_made_shorter_says_when_it_would_have_begun_to_fall(go: Run) -> None:
    go(WSD, "--trainer.max_steps=5", "--scheduler.decay_steps=1")
    said = _refusal(go, WSD, LATEST, "--trainer.max_steps=6", "--scheduler.decay_steps=4")
    assert "the fall would begin at step 2 of 6, and 5 steps are done at the full rate" in said
    assert "--scheduler.decay_steps 2" in said
    status, _ = go(WSD, LATEST, "--trainer.max_steps=6", "--scheduler.decay_steps=2")
    assert status == 0


def test_a_warm_up_in_percent_is_to_be_written_in_steps(go: Run) -> None:
    percent = "--scheduler={name='wsd', warmup_percent=50, decay_steps=1}"
    go(percent, "--trainer.max_steps=4", "--trainer.save_steps=3")
    step = "--trainer.resume_from_checkpoint=3"
    said = _refusal(go, percent, step, "--trainer.max_steps=8")
    assert "scheduler.warmup_percent = 50 was 2 steps of 4, and is 4 of 8" in said
    assert "--scheduler.warmup_percent none --scheduler.warmup_steps 2" in said
    assert "the fall" not in said
    status, _ = go(
        percent,
        step,
        "--trainer.max_steps=8",
        "--scheduler.warmup_percent=none",
        "--scheduler.warmup_steps=2",
    )
    assert status == 0


def test_both_faults_come_in_one_answer(go: Run) -> None:
    percent = "--scheduler={name='wsd', warmup_percent=50, decay_steps=2}"
    go(percent, "--trainer.max_steps=4")
    said = _refusal(go, percent, LATEST, "--trainer.max_steps=8")
    assert "--scheduler.warmup_steps 2" in said
    assert "resume from a checkpoint of step 2 or before" in said


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_a_fall_over_the_whole_run_can_only_be_kept(go: Run, name: str) -> None:
    schedule = f"--scheduler={{name='{name}', warmup_steps=1}}"
    go(schedule, "--trainer.max_steps=4")
    said = _refusal(go, schedule, LATEST, "--trainer.max_steps=6")
    assert "the fall from step 1 on took 3 steps, and would take 5" in said
    status, _ = go(schedule, LATEST, "--trainer.max_steps=6", "--scheduler.decay_steps=3")
    assert status == 0


@pytest.mark.parametrize("schedule", ["{name='inverse_sqrt', warmup_steps=2}", "inverse_sqrt", "constant"])
def test_schedules_without_an_end_go_on_from_anywhere(go: Run, schedule: str) -> None:
    go(f"--scheduler={schedule}", "--trainer.max_steps=6", "--trainer.output_dir=whole")
    go(f"--scheduler={schedule}", "--trainer.max_steps=3")
    go(f"--scheduler={schedule}", LATEST)
    assert _state("run", 6) == _state("whole", 6)


def test_another_scheduler_is_still_refused_in_general_words(go: Run) -> None:
    go(WSD, "--trainer.max_steps=4")
    said = _refusal(go, "--scheduler=inverse_sqrt", "--scheduler.timescale=1", LATEST, "--trainer.max_steps=5")
    assert "another scheduler option, or a schedule that depends on max_steps" in said


def test_the_command_says_so_without_a_traceback(go: Run, workdir: Path) -> None:
    go(WSD)
    command = [sys.executable, "-m", "neobert.cli", "recipe.toml", WSD, LATEST, "--trainer.max_steps", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "resume from a checkpoint of step 3 or before" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
