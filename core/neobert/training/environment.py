"""What a run ran on, for its folder. No environment variables: they may hold secrets."""

from __future__ import annotations

import platform
import sys
from typing import Any

import torch

from neobert.libraries import versions
from neobert.recipe import Recipe, attention_choices
from neobert.training.deterministic import describe_determinism
from neobert.training.devices import Placement, attention_target
from neobert.training.precision import uses_tf32


def describe_environment(recipe: Recipe, placement: Placement) -> dict[str, Any]:
    """Versions, machine, device, threads, what backends that choose have chosen, the distribution of each part; JSON
    values.
    """
    gpu = torch.cuda.get_device_name(placement.device) if placement.device.type == "cuda" else None
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "device": str(placement.device),
        "gpu": gpu,
        "num_threads": placement.num_threads,
        "cpu_matmul": placement.cpu_matmul,
        "keeps_freed_memory": placement.keeps_freed_memory,
        "mixed_precision": recipe.trainer.mixed_precision,
        "tf32": uses_tf32(placement.device),
        **describe_determinism(placement.device),
        "world_size": placement.world_size,
        "libraries": dict(versions()),
        "chosen": attention_choices(recipe, attention_target(recipe)),
        "plugins": {f"{part.kind}.{part.name}": part.distribution for _, part in recipe.parts()},
    }
