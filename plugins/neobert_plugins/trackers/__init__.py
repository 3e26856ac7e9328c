"""Trackers: `jsonl` always, `tensorboard` and `wandb` with their extras."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.trackers.options import Jsonl, TensorBoard, Wandb


@hookimpl
def neobert_trackers() -> dict[str, type]:
    return {"jsonl": Jsonl, "tensorboard": TensorBoard, "wandb": Wandb}
