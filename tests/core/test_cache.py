"""What is built once is built once, whole, by one of many, after any kill."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from neobert.cache import build_once, cache_directory
from neobert.errors import UserError


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "own"))
    assert cache_directory("a", "b") == tmp_path / "own" / "a" / "b"
    assert (tmp_path / "own" / "a" / "b").is_dir()
    monkeypatch.delenv("NEOBERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "neobert"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "neobert"


def test_a_cache_that_cannot_be_made_says_how_to_move_it(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="NEOBERT_CACHE"):
        cache_directory("x")


def test_built_once(tmp_path):
    built = []

    def build(path):
        built.append(path)
        path.mkdir()
        (path / "x").write_text("1")

    for _ in range(2):
        assert (build_once(tmp_path / "deep" / "result", build) / "x").read_text() == "1"
    assert len(built) == 1


def test_one_of_many_builds(tmp_path):
    built = []

    def build(path):
        built.append(path)
        time.sleep(0.1)
        path.write_text("1")

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: build_once(tmp_path / "result", build), range(4)))
    assert [path.read_text() for path in results] == ["1"] * 4
    assert len(built) == 1


def test_a_failure_leaves_nothing_and_can_be_tried_again(tmp_path):
    def fail(path):
        path.mkdir()
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        build_once(tmp_path / "result", fail)
    assert [path.name for path in tmp_path.iterdir()] == [".result.lock"]
    assert build_once(tmp_path / "result", Path.mkdir).is_dir()


def test_a_full_disk_is_said_plainly(tmp_path):
    def fail(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="no space left"):
        build_once(tmp_path / "result", fail)


KILLED = """
import os, sys
from pathlib import Path
from neobert.cache import build_once

def build(path):
    path.mkdir()
    (path / "half").write_text("half")
    print("begun", flush=True)
    sys.stdin.read()

build_once(Path(sys.argv[1]), build)
"""


def test_a_kill_in_the_middle_leaves_no_result_and_no_lock(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "result")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "result").exists()

    def build(path):
        path.mkdir()
        (path / "whole").write_text("whole")

    result = build_once(tmp_path / "result", build)
    assert [path.name for path in result.iterdir()] == ["whole"]
