"""Trackers: `jsonl` always, `tensorboard`, `wandb`, `mlflow` and `trackio` with their extras."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.trackers.options import Jsonl, MLflow, TensorBoard, Trackio, Wandb


@hookimpl
def neobert_trackers() -> dict[str, type]:
    return {"jsonl": Jsonl, "tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow, "trackio": Trackio}
