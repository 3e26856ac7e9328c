"""One run a folder, and never two histories in one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from neobert.errors import UserError
from neobert.run_folder import METRICS
from neobert.training.run_directory import lock_run_directory, refuse_second_run, supersede


def test_a_folder_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    recipe: Any = SimpleNamespace(path=Path("r.toml"), overrides=("--trainer.output_dir", "mine", "--model.ngpt=true"))
    refuse_second_run(tmp_path, recipe)
    (tmp_path / METRICS).write_text("")
    with pytest.raises(UserError) as refused:
        refuse_second_run(tmp_path, recipe)
    # The overrides belong to the run: without them the commands would mean another folder, or another run.
    on, another, _ = str(refused.value).splitlines()[1:]
    given = "neobert-run r.toml --trainer.output_dir"
    assert on.endswith(f"{given} mine --model.ngpt true --trainer.resume_from_checkpoint latest")
    assert another.endswith(f"{given} {tmp_path}-2 --model.ngpt true")


@pytest.mark.parametrize("place", ["run", "run/inside/it"])
def test_a_file_is_no_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="run is a file"), lock_run_directory(tmp_path / place):
        pass


def test_a_second_process_is_refused_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from neobert.training.run_directory import lock_run_directory\n"
        "with lock_run_directory(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match="in use"), lock_run_directory(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with lock_run_directory(tmp_path):
        pass


def test_what_is_newer_than_the_step_moves_out_of_the_way(tmp_path: Path) -> None:
    for kind in ("checkpoints", "model_checkpoints"):
        for step in (5, 10, 15):
            (tmp_path / kind / str(step)).mkdir(parents=True)
    lines = [json.dumps({"step": step}) + "\n" for step in (5, 10, 11, 15)]
    (tmp_path / METRICS).write_text("".join(lines) + '{"step": 1')
    said = supersede(tmp_path, 10)
    assert said is not None
    assert "checkpoints/15" in said
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["10", "5"]
    assert (tmp_path / METRICS).read_text() == "".join(lines[:2])
    assert (tmp_path / "superseded" / "001" / METRICS).read_text() == "".join(lines[2:]) + '{"step": 1'
    assert (tmp_path / "superseded" / "001" / "model_checkpoints" / "15").is_dir()
    assert supersede(tmp_path, 10) is None
    assert supersede(tmp_path, 5) is not None
    assert (tmp_path / "superseded" / "002" / "checkpoints" / "10").is_dir()
