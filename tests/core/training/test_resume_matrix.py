"""Resumed runs of several ranks beside the unbroken run of one, at and between the edges of epochs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_every_cell_without_workers_is_equal() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.resume_matrix", "--workers", "0", "--worlds", "2", "4"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("equal ") + done.stdout.count("equal\n") == 3 * 2 * 5
    assert "no cells differ" in done.stdout
