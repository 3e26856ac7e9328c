"""In which numbers the forward pass runs."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

import torch

from neobert.products import quicker_library
from neobert.recipe.trainer import TrainerOptions
from neobert.toml_text import toml_text

logger = logging.getLogger("neobert.training")


def forward_precision(trainer: TrainerOptions, device: torch.device) -> AbstractContextManager[object]:
    """bf16 autocast, or nothing: weights, gradients and optimizer state are fp32 either way."""
    if trainer.mixed_precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()


def tf32_row(trainer: TrainerOptions, device: torch.device) -> str | None:
    """What ``trainer.tf32`` comes to on this device, in a line; None where it is unset."""
    if trainer.tf32 is None:
        return None
    said = f"trainer.tf32 = {str(trainer.tf32).lower()}"
    if device.type != "cuda":
        return f"{said} has no effect on {device.type}: TF32 is a format of CUDA devices"
    return f"{said}: float32 matrix products are computed in {'TF32' if trainer.tf32 else 'float32'}"


def products_row(trainer: TrainerOptions, device: torch.device) -> str | None:
    """Who multiplies matrices of float32 on a CPU, in a line; None elsewhere."""
    if device.type != "cpu":
        return None
    library = quicker_library() if trainer.cpu_matmul == "auto" else trainer.cpu_matmul
    name = {"onednn": "oneDNN", "torch": "torch's usual library"}[library]
    return f"{name} (trainer.cpu_matmul = {toml_text(trainer.cpu_matmul)})"


def set_tf32(trainer: TrainerOptions, device: torch.device) -> None:
    """Sets CUDA's matrix products and convolutions for this process, and logs what that comes to."""
    said = tf32_row(trainer, device)
    if said is None:
        return
    logger.info(said)
    if device.type == "cuda":
        precision = "tf32" if trainer.tf32 else "ieee"
        torch.backends.cuda.matmul.fp32_precision = precision
        torch.backends.cudnn.conv.fp32_precision = precision  # type: ignore[attr-defined]


def uses_tf32(device: torch.device) -> bool | None:
    """Whether float32 matrix products are in TF32; None on a device that has no such format."""
    return torch.backends.cuda.matmul.fp32_precision == "tf32" if device.type == "cuda" else None
