"""Trackers write what they are given, where a reader finds it."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch

from neobert import BuildContext
from neobert_plugins.trackers import Jsonl, TensorBoard, Wandb
from neobert_plugins.trackers.jsonl import JsonlTracker


@pytest.fixture
def context(tmp_path):
    return BuildContext(
        seed=0, device=torch.device("cpu"), run_directory=tmp_path / "run", max_seq_length=8, max_steps=10
    )


def lines(context) -> list[dict]:
    text = (context.run_directory / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_jsonl_writes_a_line_at_once_with_every_digit(context):
    tracker = Jsonl().build(context)
    tracker.log({"train/loss": 0.1 + 0.2, "tokens": 3}, 1)
    assert lines(context) == [{"step": 1, "train/loss": 0.1 + 0.2, "tokens": 3}]
    tracker.log({"train/loss": 1e-300}, 2)
    assert lines(context)[1] == {"step": 2, "train/loss": 1e-300}
    tracker.close()
    tracker.close()


def test_jsonl_appends_to_what_is_there(context):
    for step in (1, 2):
        tracker = Jsonl().build(context)
        tracker.log({"loss": 1.0}, step)
        tracker.close()
    assert [line["step"] for line in lines(context)] == [1, 2]


def test_jsonl_starts_a_new_line_after_half_a_line(context):
    context.run_directory.mkdir()
    path = context.run_directory / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "lo')
    tracker = Jsonl().build(context)
    tracker.log({"loss": 1.0}, 3)
    tracker.close()
    assert path.read_text().splitlines() == ['{"step": 1}', '{"step": 2, "lo', '{"step": 3, "loss": 1.0}']


def test_jsonl_stays_json_when_a_loss_is_not_finite(context):
    tracker = Jsonl().build(context)
    tracker.log({"a": float("nan"), "b": float("inf"), "c": float("-inf")}, 1)
    (line,) = lines(context)
    assert math.isnan(float(line["a"]))
    assert (float(line["b"]), float(line["c"])) == (math.inf, -math.inf)


def test_jsonl_refuses_a_metric_called_step(context):
    with pytest.raises(ValueError, match="step"):
        Jsonl().build(context).log({"step": 1.0}, 1)


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="the extra `tensorboard` is not installed")
def test_jsonl_names_its_file_where_the_disk_is_full(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    for write in (lambda: tracker.log({"train/loss": 1.0}, 1), tracker.close):
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/metrics.jsonl'"):
            write()


def test_tensorboard_writes_events_that_tensorboard_reads(context):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard().build(context)
    tracker.log({"train/loss": 2.5, "train/learning_rate": 0.25}, 1)
    tracker.log({"train/loss": 1.5}, 7)
    tracker.close()
    events = EventAccumulator(str(context.run_directory / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 2.5), (7, 1.5)]
    assert [(e.step, e.value) for e in events.Scalars("train/learning_rate")] == [(1, 0.25)]


@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="the extra `wandb` is not installed")
def test_wandb_writes_an_offline_run_into_the_run_folder(context):
    tracker = Wandb(mode="offline", project="test", run_name="a run").build(context)
    tracker.log({"train/loss": 2.5}, 1)
    tracker.close()
    assert list((context.run_directory / "wandb").glob("offline-run-*/*.wandb"))


def test_wandb_gets_project_name_mode_and_folder(context, monkeypatch):
    """What reaches wandb itself, with a stand-in for the module, whether it is installed or not."""
    import sys
    from types import SimpleNamespace

    seen, logged, finished = [], [], []
    run = SimpleNamespace(log=lambda values, step: logged.append((values, step)), finish=lambda: finished.append(1))
    module = SimpleNamespace(init=lambda **options: seen.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", module)
    tracker = Wandb(mode="offline", project="p", entity="e").build(context)
    tracker.log({"train/loss": 2.5}, 4)
    tracker.close()
    directory = str(context.run_directory)
    assert seen == [{"project": "p", "entity": "e", "name": "run", "mode": "offline", "dir": directory}]
    assert logged == [({"train/loss": 2.5}, 4)]
    assert finished == [1]


@pytest.mark.parametrize(("options", "needs"), [(TensorBoard, ("tensorboard",)), (Wandb, ("wandb",))])
def test_extras_are_declared(options, needs):
    assert options.requires == needs
