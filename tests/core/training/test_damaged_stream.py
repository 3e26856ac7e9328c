"""A run on a stream with damaged rows: they are named, counted and logged, and a resumed run counts the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from neobert.errors import UserError

STREAM = ("--dataset.streaming=true", "--dataset.path=rows.jsonl", "--datacollator.packing_window=16")


def write_rows(damaged, rows=60):
    lines = [json.dumps({"text": f"the list of all items {row} " * (1 + row % 7)}) for row in range(rows)]
    for row in damaged:
        lines[row] = '{"text": "cut'
    Path("rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def metrics():
    lines = map(json.loads, Path("run/metrics.jsonl").read_text(encoding="utf-8").splitlines())
    names = ("step", "train/loss", "train/damaged_rows", "train/epoch")
    return [{name: line[name] for name in names if name in line} for line in lines if "train/loss" in line]


def test_damaged_rows_are_counted_alike_whole_and_resumed(go):
    write_rows([9, 23, 24, 59])
    status, said = go(*STREAM, "--trainer.max_steps=12")
    assert status == 0
    assert said.count("skipped: rows.jsonl: row ") == 4
    whole, summary = metrics(), json.loads(Path("run/summary.json").read_text())
    assert summary["left_out"]["damaged_rows"] >= 4
    assert "damaged rows in the stream as far as it was read" in said
    for stop in ("2", "6"):
        output = f"--trainer.output_dir=run{stop}"
        assert go(*STREAM, "--trainer.max_steps=12", output, "--trainer.save_steps=2")[0] == 0
        again = (*STREAM, "--trainer.max_steps=12", output, f"--trainer.resume_from_checkpoint={stop}")
        assert go(*again, "--trainer.save_steps=2")[0] == 0
        Path("run").rename(f"run-before-{stop}")
        Path(f"run{stop}").rename("run")
        assert metrics() == whole
        assert json.loads(Path("run/summary.json").read_text())["left_out"] == summary["left_out"]


def test_a_run_that_a_damaged_row_stops_has_saved_what_it_trained(go):
    write_rows([57])
    with pytest.raises(UserError, match=r"(?s)row 58 is not JSON.*the run got to step (\d+), which is saved"):
        go(*STREAM, "--trainer.max_steps=100", "--dataset.on_damaged_row=stop")
    assert len(list(Path("run/checkpoints").iterdir())) == 1
    assert (
        go(
            *STREAM,
            "--trainer.max_steps=12",
            "--dataset.on_damaged_row=skip",
            "--trainer.resume_from_checkpoint=latest",
        )[0]
        == 0
    )
