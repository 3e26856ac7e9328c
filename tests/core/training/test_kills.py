"""A few of the kills of `tests.benchmarks.kills`, in a process of their own: it forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
KILLS = 6


@pytest.mark.slow
def test_killed_runs_end_with_the_same_bytes() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.kills", "--kills", str(KILLS), "--seed", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no runs differ" in done.stdout
    assert int(done.stdout.splitlines()[-1].split()[0]) >= KILLS
