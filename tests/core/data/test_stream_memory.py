"""Memory stays flat while a stream is read, at a scale that a test can afford."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_what_was_trained_on_is_let_go():
    """Two million tokens more are 16 MB as ids alone."""
    command = [sys.executable, "-m", "tests.benchmarks.stream_memory", "--tokens", "4000000", "--window", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    megabytes = [float(line.split()[2]) for line in done.stdout.splitlines()]
    assert len(megabytes) == 21
    half = len(megabytes) // 2
    assert max(megabytes[half:]) < max(megabytes[:half]) + 8
