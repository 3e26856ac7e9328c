"""Trackers write what they are given, where a reader finds it."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from importlib import metadata
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

from neobert import BuildContext
from neobert_plugins.trackers import Jsonl, MLflow, TensorBoard, Trackio, Wandb
from neobert_plugins.trackers.jsonl import JsonlTracker
from neobert_plugins.trackers.mlflow_store import accepted

SECRET = "secretsecretsecretsecretsecretsecret9999"
SECRETS = ("WANDB_API_KEY", "HF_TOKEN", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "NEOBERT_OWN_SECRET")


def needs(*distributions: str) -> pytest.MarkDecorator:
    """Skips a test of what is in no `dev` install: these are large, and take long to install."""
    missing = [name for name in distributions if not _is_installed(name)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def _is_installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def holders(folder: Path) -> list[Path]:
    """Files with the secret in them."""
    return [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


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


def test_jsonl_names_its_file_where_the_disk_is_full(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    tracker = JsonlTracker(tmp_path / "metrics.jsonl")
    for write in (lambda: tracker.log({"train/loss": 1.0}, 1), tracker.close):
        with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/metrics.jsonl'"):
            write()


@needs("tensorboard")
def test_tensorboard_writes_events_that_tensorboard_reads(context):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard().build(context)
    tracker.log({"train/loss": 2.5, "train/learning_rate": 0.25}, 1)
    tracker.log({"train/loss": 1.5}, 7)
    tracker.close()
    events = EventAccumulator(str(context.run_directory / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(1, 2.5), (7, 1.5)]
    assert [(e.step, e.value) for e in events.Scalars("train/learning_rate")] == [(1, 0.25)]


@needs("wandb")
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


def test_extras_have_what_the_trackers_require():
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    extras = pyproject["project"]["optional-dependencies"]
    for options, extra in {TensorBoard: "tensorboard", Wandb: "wandb", MLflow: "mlflow", Trackio: "trackio"}.items():
        needed = {Requirement(it).name for it in options.requires}
        assert needed == {Requirement(it).name for it in extras[extra]}


@needs("mlflow-skinny", "sqlalchemy", "alembic")
def test_mlflow_writes_into_a_database_of_the_run_folder(context, monkeypatch):
    """A run that goes back opens it again; the environment stays as it was, and none of its secrets is written."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name in SECRETS:
        monkeypatch.setenv(name, SECRET)
    for loss in (2.5, float("nan")):
        tracker = MLflow(experiment="an experiment", run_name="a run").build(context)
        tracker.log({"train/loss": loss, "eval/mrr@10": 0.25}, 1)
        tracker.close()
    assert "MLFLOW_TRACKING_URI" not in os.environ
    with closing(sqlite3.connect(context.run_directory / "mlflow.db")) as database:
        rows = database.execute("select key, step, value, is_nan from metrics order by timestamp, key").fetchall()
        assert rows == [
            ("eval/mrr_10", 1, 0.25, 0),
            ("train/loss", 1, 2.5, 0),
            ("eval/mrr_10", 1, 0.25, 0),
            ("train/loss", 1, 0.0, 1),
        ]
        assert database.execute("select name, status from runs").fetchall() == [("a run", "FINISHED")] * 2
    assert not holders(context.run_directory)


def test_names_that_mlflow_refuses_are_changed_and_stay_apart():
    assert accepted({"a@1": 1.0, "a_1": 2.0, "a+1": 3.0, "b/c-d.e f:g": 4.0}) == {
        "a_1": 1.0,
        "a_1_2": 2.0,
        "a_1_3": 3.0,
        "b/c-d.e f:g": 4.0,
    }


@pytest.mark.parametrize("name", ["it's", " "])
def test_an_experiment_that_mlflow_could_not_find_again_is_refused(name):
    with pytest.raises(ValueError, match="without a single quote"):
        MLflow(experiment=name)


@needs("trackio")
def test_trackio_writes_into_its_local_folder(context, tmp_path):
    """In a process of its own: it reads where its folder is when it is imported."""
    code = (
        "import sys, torch; from pathlib import Path\n"
        "from neobert import BuildContext; from neobert_plugins.trackers import Trackio\n"
        "context = BuildContext(seed=0, device=torch.device('cpu'), run_directory=Path(sys.argv[1]), "
        "max_seq_length=8, max_steps=10)\n"
        "tracker = Trackio(project='theirs').build(context)\n"
        "tracker.log({'train/loss': 2.5, 'eval/mrr@10': 0.25}, 3)\n"
        "tracker.close()\n"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), **dict.fromkeys(SECRETS, SECRET)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], env=environment, check=True)
    with closing(sqlite3.connect(tmp_path / "trackio" / "theirs.db")) as database:
        rows = database.execute("select run_name, step, metrics from metrics").fetchall()
        assert [(run, step, json.loads(values)) for run, step, values in rows] == [
            ("run", 3, {"train/loss": 2.5, "eval/mrr@10": 0.25})
        ]
    assert not holders(tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(TensorBoard(), marks=needs("tensorboard")),
        pytest.param(Wandb(mode="offline"), marks=needs("wandb")),
    ],
    ids=lambda options: type(options).__name__,
)
def test_no_secret_of_the_environment_reaches_a_tracker(context, monkeypatch, options):
    for name in (
        "WANDB_API_KEY",
        "HF_TOKEN",
        "MLFLOW_TRACKING_TOKEN",
        "MLFLOW_TRACKING_PASSWORD",
        "NEOBERT_OWN_SECRET",
    ):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = options.build(context)
    tracker.log({"train/loss": 2.5}, 1)
    tracker.close()
    assert [path for path in context.run_directory.rglob("*") if path.is_file()]
    assert not holders(context.run_directory)
