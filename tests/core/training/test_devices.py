"""Where a run computes, and what is refused before it would wait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training.devices import choose_device
from neobert.training.processes import joined_processes


@pytest.mark.parametrize("use_cpu", [False, True])
def test_one_of_several_processes_does_not_wait_for_the_others(monkeypatch: pytest.MonkeyPatch, use_cpu: bool) -> None:
    launched = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    options = TrainerOptions(export_attn_backend="eager", use_cpu=use_cpu)
    with pytest.raises(UserError, match="started as 2 processes, and only training runs on several"):
        choose_device(options)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"WORLD_SIZE": "2", "RANK": "0"}, "LOCAL_RANK, MASTER_ADDR, MASTER_PORT are not set"),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}, "was asked for several processes"),
        ({"ACCELERATE_USE_FSDP": "true"}, r"\(ACCELERATE_USE_FSDP\).*\n.*set trainer.strategy"),
    ],
)
def test_processes_that_are_half_started_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    joined = joined_processes(TrainerOptions(export_attn_backend="eager"))
    with pytest.raises(UserError, match=said), joined:
        pass


def test_a_mistake_in_a_recipe_is_told_once_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("nonsense = 1\n")
    for rank, lines in ((0, True), (1, False)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        done = subprocess.run(
            [sys.executable, "-m", "neobert.cli", str(file)], capture_output=True, text=True, check=False
        )
        assert (done.returncode, bool(done.stderr)) == (2, lines)
