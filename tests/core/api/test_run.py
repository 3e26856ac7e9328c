"""`neobert.run` trains what the command line trains, raises what it prints, and leaves its process as it was."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import PartialState
from rich.console import Console

import neobert
from neobert import products

SILENT = Console(quiet=True)
SCRIPT = """
import neobert
run = neobert.run("recipe.toml", {"trainer.output_dir": "apart", "trainer.seed": 7, "trainer.max_steps": 3,
                                  "dataset.num_workers": 1, "dataset.num_proc": 2})
assert run.step == 3
"""
"""Without ``if __name__ == "__main__"``, and with processes of both sorts."""
LIGHT = """
import sys
import neobert
names = [neobert.run, neobert.Run, neobert.RunInterrupted, neobert.Metrics]
print([name for name in ("torch", "numpy", "transformers", "datasets", "accelerate", "rich") if name in sys.modules])
"""


def test_what_a_run_returns(masked: neobert.Run, place: Path) -> None:
    assert masked.status == 0
    assert masked.directory == place / "masked"
    assert (masked.step, masked.checkpoint) == (4, place / "masked/checkpoints/4")
    assert masked.export == place / "masked/model_checkpoints/4"
    assert masked.recipe.is_file()
    assert neobert.Run(masked.directory).step == 4
    lines = [json.loads(line) for line in (masked.directory / "metrics.jsonl").read_text().splitlines()]
    metrics = masked.metrics
    assert list(metrics.rows) == lines
    for name in ("train/loss", "train/learning_rate", "eval/loss"):
        expected = [(line["step"], line[name]) for line in lines if name in line]
        assert list(metrics[name]) == expected
        assert (metrics[name].steps, metrics[name].last) == (tuple(step for step, _ in expected), expected[-1][1])
    assert metrics["train/loss"].steps == (2, 4)
    assert masked.summary["evaluations"]["after"]["loss"] == metrics["eval/loss"].last
    assert {name for row in lines for name in row} == {"step", *metrics}


def test_what_is_not_there_is_said(masked: neobert.Run, tmp_path: Path) -> None:
    with pytest.raises(neobert.UserError, match="is no run's folder: no such file or folder"):
        neobert.Run(tmp_path / "nowhere")
    with pytest.raises(neobert.UserError, match=r"is no run's folder: it has no environment\.json"):
        neobert.Run(tmp_path)
    with pytest.raises(neobert.UserError, match=r"nothing whole in ema_model_checkpoints/"):
        _ = masked.averaged_export
    with pytest.raises(neobert.UserError, match=r"trainer\.metric_for_best was unset"):
        _ = masked.best_export
    (tmp_path / "environment.json").write_text("{}")
    for name in ("metrics", "summary", "checkpoint"):
        with pytest.raises(neobert.UserError, match=str(tmp_path)):
            getattr(neobert.Run(tmp_path), name)


def test_numbers_that_are_not_finite_and_half_a_line(tmp_path: Path) -> None:
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "a": "NaN"}\n{"step": 2, "a": "-Infinity"}\n{"step": 3, "a')
    series = neobert.Run(tmp_path).metrics["a"]
    assert np.isnan(series.values[0])
    assert (series.steps, series.last, len(series)) == ((1, 2), -float("inf"), 2)
    (tmp_path / "metrics.jsonl").write_text("[1]\n")
    with pytest.raises(neobert.UserError, match="a line that is none of a run"):
        _ = neobert.Run(tmp_path).metrics


def test_all_faults_of_a_recipe_are_raised(here: Path) -> None:
    with pytest.raises(neobert.RecipeError) as caught:
        neobert.run("recipe.toml", {"trainer.max_stepz": 4, "trainer.seed": 1.5, "model.attn_backend": "spda"})
    assert {problem.key for problem in caught.value.problems} == {
        "trainer.max_stepz",
        "trainer.seed",
        "model.attn_backend",
    }
    with pytest.raises(neobert.RecipeError, match=r"no such recipe"):
        neobert.run("no_such_recipe.toml")
    with pytest.raises(neobert.RecipeError) as caught:
        neobert.run("recipe.toml", {"trainer.seed": object(), 3: 4})  # type: ignore[dict-item]
    assert [problem.key for problem in caught.value.problems] == ["trainer.seed", "3"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("trainer.max_steps", np.int64(9), 9),
        ("optimizer.lr", np.float32(0.5), 0.5),
        ("trainer.gradient_clipping", None, None),
        ("trainer.output_dir", Path("a b"), "a b"),
        ("trainer.output_dir", "none", "none"),
        ("trainer.output_dir", "3", "3"),
        ("trainer.output_dir", "--x=1", "--x=1"),
        ("optimizer.momentum", 0.5, 0.5),
        ("datacollator", {"name": "mlm", "mlm_probability": 0.5}, "mlm"),
        ("trainer.eval_position_buckets", (8, 16), [8, 16]),
        ("trackers", [], ()),
    ],
)
def test_values_are_taken_as_they_are(here: Path, key: str, value: object, expected: object) -> None:
    from neobert.api.overrides import override_tokens
    from neobert.recipe import load_recipe

    recipe = load_recipe("recipe.toml", override_tokens({key: value}))
    if key == "datacollator":
        assert recipe.datacollator.mlm_probability == 0.5
        assert recipe.datacollator.pack_sequences, "what the recipe says besides stays"
    elif key == "trackers":
        assert recipe.trackers == expected
    else:
        assert recipe.flat()[key] == expected
    assert override_tokens(["--trainer.max_steps", "3"]) == ["--trainer.max_steps", "3"]


def test_a_folder_that_holds_a_run_is_refused(masked: neobert.Run, here: Path) -> None:
    with pytest.raises(neobert.UserError, match="two runs never share a folder"):
        neobert.run("recipe.toml", {"trainer.output_dir": "masked"}, console=SILENT)


def _state() -> dict[str, Any]:
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[union-attr]
        "python": random.getstate(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "products": products.chosen_library(),
        "accelerate": dict(PartialState._shared_state),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "grad": torch.is_grad_enabled(),
        "threads_alive": {thread.name for thread in threading.enumerate() if thread.name.startswith("neobert")},
    }


def test_the_process_is_as_it_was_and_another_run_in_it_the_same(masked: neobert.Run, here: Path) -> None:
    """The bits of a run that is the second of its process, and of one alone in its own, with data workers."""
    torch.set_num_threads(2)
    torch.manual_seed(11)
    products.choose_library("onednn")
    PartialState._reset_state()
    before = _state()
    try:
        changes = {"trainer.output_dir": "second", "trainer.seed": 7, "trainer.max_steps": 3}
        second = neobert.run("recipe.toml", {**changes, "trainer.deterministic": True}, console=SILENT)
        assert _state() == before
    finally:
        torch.set_num_threads(1)
    (here / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    apart = neobert.Run("apart")
    for name in ("model.safetensors", "optimizer.safetensors"):
        files = [folder / name for folder in (second.checkpoint, apart.checkpoint)]
        if files[0].exists():
            assert files[0].read_bytes() == files[1].read_bytes()
    assert (second.export / "model.safetensors").read_bytes() == (apart.export / "model.safetensors").read_bytes()
    assert second.metrics["train/loss"] == apart.metrics["train/loss"]


class _AtFirstStep:
    """A stream that gets a signal once a step has been logged."""

    def __init__(self, number: int) -> None:
        self.number = number

    def write(self, text: str) -> None:
        if "step 2/" in text and self.number:
            os.kill(os.getpid(), self.number)
            self.number = 0

    def flush(self) -> None: ...


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, neobert.RunInterrupted), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_it_once_the_step_is_saved(here: Path, number: int, kind: type[BaseException]) -> None:
    folder = f"stopped-{number}"
    console = Console(file=_AtFirstStep(number), width=200)  # type: ignore[arg-type]
    with pytest.raises(kind) as caught:
        neobert.run("recipe.toml", {"trainer.output_dir": folder}, console=console)
    saved = neobert.Run(folder)
    assert saved.step in (2, 3)
    if isinstance(caught.value, neobert.RunInterrupted):
        assert caught.value.run.step == saved.step
        assert isinstance(caught.value, KeyboardInterrupt)
    else:
        assert caught.value.code == 143  # type: ignore[attr-defined]


def test_a_thread_trains_too(here: Path) -> None:
    found: list[neobert.Run] = []
    changes = {"trainer.output_dir": "threaded", "trainer.max_steps": 3}
    thread = threading.Thread(target=lambda: found.append(neobert.run("recipe.toml", changes, console=SILENT)))
    thread.start()
    thread.join()
    assert found[0].step == 3


def test_importing_is_light() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for name in neobert.__all__:
        assert getattr(neobert, name) is not None
