"""``--compare``: what runs came to, side by side, as their files have it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from neobert.cli import main

Say = pytest.CaptureFixture[str]


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_figures_and_differences_are_those_of_the_files(runs: Path, tmp_path: Path, capsys: Say) -> None:
    other, file = tmp_path / "other", tmp_path / "out.json"
    shutil.copytree(runs / "mixed", other)
    (other / "recipe.toml").write_text((other / "recipe.toml").read_text().replace("seed = 42", "seed = 43"))
    assert main(("--compare", str(runs / "mixed"), str(other), "--output", str(file))) == 0
    said = json.loads(file.read_text())
    assert said["recipe_differences"] == [{"key": "trainer.seed", "values": [42, 43]}]
    first, second = said["runs"]
    assert {**first, "run": "", "folder": ""} == {**second, "run": "", "folder": ""}
    logged = [row for row in rows(runs / "mixed") if "train/loss" in row]
    assert (first["run"], first["status"], first["step"], first["max_steps"]) == ("mixed", "finished", 8, 8)
    assert first["tokens"] == logged[-1]["train/tokens_seen"]
    assert first["tokens_per_second"] == median(row["train/tokens_per_second"] for row in logged)
    losses = {row["step"]: row["eval/loss"] for row in rows(runs / "mixed") if "eval/loss" in row}
    best = min(losses, key=lambda step: losses[step])
    assert first["metrics"]["eval/loss"] == {
        "first": losses[0], "last": losses[8], "last_step": 8, "best": losses[best], "best_step": best,
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert f"{losses[8]:.4f}" in printed
    assert "trainer.seed" in printed
    assert "eval/loss/<b>bodies</b>" in printed


def test_runs_of_other_kinds_stand_beside_each_other(runs: Path, capsys: Say) -> None:
    assert main(("--compare", str(runs / "mixed"), str(runs / "objectives"))) == 0
    printed = capsys.readouterr().out
    assert "eval/pairs/mrr@10" in printed
    assert "objectives.pairs.probability" in printed


def test_runs_that_do_not_differ_say_so(runs: Path, tmp_path: Path, capsys: Say) -> None:
    shutil.copytree(runs / "mixed", tmp_path / "mixed")
    assert main(("--compare", str(runs / "mixed"), str(tmp_path / "mixed"))) == 0
    assert "the recipes do not differ" in capsys.readouterr().out


def test_mistakes_are_told_all_at_once(runs: Path, tmp_path: Path, capsys: Say) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "environment.json").write_text("{}")
    assert main(("--compare", str(runs / "mixd"), str(tmp_path), str(empty))) == 2
    said = capsys.readouterr().err
    assert "did you mean" in said
    assert "holds no run" in said
    assert f"there are runs in it: {empty}" in said
    assert "it has no metrics.jsonl" in said
    for words, expected in (
        (("--compare", str(runs / "mixed")), "needs two runs at least"),
        (("--compare", str(runs / "mixed"), f"{runs}/mixed/"), "named twice"),
        (("--compare", str(runs / "mixed"), str(runs / "objectives"), "--output", str(tmp_path)), "it exists already"),
        (("--compare",), "--compare needs RUN"),
    ):
        assert main(words) == 2
        assert expected in capsys.readouterr().err
