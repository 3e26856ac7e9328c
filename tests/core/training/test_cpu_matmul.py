"""A run whose matrix products go to oneDNN: the losses of torch's own products, and its own bits again on resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert import products

Run = Callable[..., tuple[int, str]]
LARGE_ENOUGH = ("--model.hidden_size=64", "--trainer.per_device_train_batch_size=8", "--model.dropout_prob=0.0")


@pytest.fixture(autouse=True)
def onednn():
    if (obstacle := products.onednn_obstacle()) is not None:
        pytest.skip(obstacle)
    yield
    products.choose_library("torch")


def _losses(run: str) -> list[float]:
    lines = map(json.loads, (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [line["train/loss"] for line in lines if "train/loss" in line]


def test_losses_are_those_of_torchs_products(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    real = products._of_rows
    monkeypatch.setattr(products, "_of_rows", lambda a, b: shapes.append(a.shape) or real(a, b))
    for library in ("torch", "onednn"):
        go(f"--trainer.cpu_matmul={library}", f"--trainer.output_dir={library}", *LARGE_ENOUGH)
        assert bool(shapes) == (library == "onednn")
        assert json.loads(Path(library, "environment.json").read_text())["cpu_matmul"] == library
    assert _losses("onednn") == pytest.approx(_losses("torch"), rel=1e-4)


def test_resuming_is_bit_for_bit(go: Run) -> None:
    keys = ("--trainer.cpu_matmul=onednn", *LARGE_ENOUGH)
    go("--trainer.output_dir=whole", "--trainer.save_steps=3", *keys)
    go("--trainer.output_dir=resumed", "--trainer.resume_from_checkpoint=whole/checkpoints/3", *keys)
    state = "checkpoints/6/state.safetensors"
    assert Path("whole", state).read_bytes() == Path("resumed", state).read_bytes()
