"""``trainer.deterministic``: the same bits from every start on the same machine, whatever device it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from neobert.errors import UserError
from neobert.recipe.trainer import TrainerOptions

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""cuBLAS takes the same kernel for the same product only with a workspace of fixed size, set before its first use."""
_OF_FIXED_SIZE = ":4096:8"


@contextmanager
def deterministic(trainer: TrainerOptions, device: torch.device) -> Iterator[None]:
    """Inside, torch takes only kernels that give the same bits each time, where the recipe says so.

    An operation that has no such kernel becomes a UserError. What the process was set to before comes back.
    """
    if not trainer.deterministic:
        yield
        return
    if device.type == "cuda":
        os.environ.setdefault(WORKSPACE, _OF_FIXED_SIZE)
    cudnn: Any = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if not _is_refusal(error):
            raise
        msg = (
            f"trainer.deterministic = true: {str(error).partition(chr(10))[0]}\n"
            "choose another part for what needs it (such as model.attn_backend), or set trainer.deterministic = false"
        )
        raise UserError(msg) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]


def describe_determinism(device: torch.device) -> dict[str, object]:
    """What this process is set to, for the run's folder."""
    said: dict[str, object] = {"deterministic": torch.are_deterministic_algorithms_enabled()}
    if said["deterministic"] and device.type == "cuda":
        said["cublas_workspace"] = os.environ.get(WORKSPACE)
    return said


def _is_refusal(error: RuntimeError) -> bool:
    """Torch's words for an operation without a deterministic kernel."""
    return "use_deterministic_algorithms(True)" in str(error)
