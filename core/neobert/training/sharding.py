"""Weights, gradients and the optimizer's state shared out among processes (`trainer.strategy = "fsdp"`).

Torch's FSDP2: a block's weights are put together just before it computes, forward and backward, and taken apart after
it; its gradients are summed over processes on their way back to the rows that each process keeps. What is computed,
and in which numbers, is what one process does (weights come together in the dtype that they are kept in; autocast, as
`neobert.training.precision` has it, comes after).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from attrs import frozen
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from neobert.data import MicroBatch
from neobert.errors import UserError
from neobert.interfaces import LossOutput
from neobert.recipe.trainer import TrainerOptions
from neobert.training.gradient_sums import sum_outputs
from neobert.training.objective import CALLED, Objective, Objectives
from neobert.training.ranks import Ranks


def is_sharded(trainer: TrainerOptions, ranks: Ranks) -> bool:
    """Whether this run's weights are shared out: one process has nobody to share with."""
    return trainer.strategy == "fsdp" and not ranks.alone


def strategy_row(trainer: TrainerOptions, processes: int) -> str | None:
    """What ``trainer.strategy`` comes to on so many processes, in a line; None for the default one."""
    if trainer.strategy == "ddp":
        return None
    if processes == 1:
        return (
            'trainer.strategy = "fsdp" has no effect on one process: it has all weights, as with "ddp". Started as '
            "several (docs/scaling.md), each keeps its share of weights, gradients and moments"
        )
    return f'trainer.strategy = "fsdp": each of {processes} processes keeps its share of weights, gradients and moments'


def shard(root: Objective | Objectives, own: Mapping[str, Objective], device: torch.device) -> None:
    """Has each of the encoder's blocks, and what is left of encoder and losses, live in parts, on ``device``.

    ``own``: the objectives that are called, ``root`` itself where there is one. Every rank has to call it, each with
    the same weights. Raises UserError for a parameter that has no rows.
    """
    _refuse_scalars(root)
    # A group of its own: a loss may send something in its backward pass, before or after a block as it happens.
    mesh = DeviceMesh.from_group(dist.new_group(), device.type)
    for block in root.encoder.blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=True)
    # The root's too are taken apart after each call: what stayed would be stale where an average takes their place.
    root.register_forward_hook(_taken_apart)
    fully_shard(root, mesh=mesh, reshard_after_forward=True)
    root.register_forward_hook(_put_together)
    for module in root.modules():
        if isinstance(module, FSDPModule):
            # A plain sum, as everywhere here: the loop divides, once.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    _call_through(root, own)


def _call_through(root: Objective | Objectives, own: Mapping[str, Objective]) -> None:
    """Has whatever is called of an objective find the root's weights whole, in its midst."""
    if isinstance(root, Objective):
        for name in CALLED:
            register_fsdp_forward_method(root, name)
        return
    for objective in own.values():
        for name in ("forward", *CALLED):
            setattr(objective, name, partial(root, getattr(objective, name)))


@frozen
class ShardedSums:
    """Gradients are summed as they are taken apart: a step's other sums are left."""

    def watched(self, micro_batches: Sequence[MicroBatch]) -> Iterator[MicroBatch]:
        return iter(micro_batches)

    def finish(self, outputs: Sequence[LossOutput], count: Tensor) -> tuple[Sequence[LossOutput], Tensor]:
        summed = sum_outputs(outputs, count)
        return [summed], summed.count


def _refuse_scalars(root: nn.Module) -> None:
    scalars = [name for name, parameter in root.named_parameters() if not parameter.ndim]
    if scalars:
        msg = (
            f'trainer.strategy = "fsdp" shares out the rows of each weight, and {", ".join(scalars)} has none: it is a '
            'single number\nmake it a vector of one in its plugin, or take trainer.strategy = "ddp"'
        )
        raise UserError(msg)


def _taken_apart(_module: nn.Module, _arguments: Any, output: Any) -> Any:
    """An output as torch looks for tensors in: at their gradient the root's weights are put together again."""
    return (output.total, output.count, dict(output.metrics)) if isinstance(output, LossOutput) else output


def _put_together(_module: nn.Module, _arguments: Any, output: Any) -> Any:
    return LossOutput(*output) if isinstance(output, tuple) else output
