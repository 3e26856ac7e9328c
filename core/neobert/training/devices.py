"""Which device a run is on, and how many CPU threads it uses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from attrs import frozen

from neobert.cores import available_cores
from neobert.errors import RecipeError, UserError
from neobert.recipe import Recipe, check_device
from neobert.recipe.trainer import TrainerOptions

if TYPE_CHECKING:
    from accelerate import PartialState


@frozen
class Placement:
    """Where this process computes."""

    device: torch.device
    rank: int
    world_size: int
    num_threads: int


def place(trainer: TrainerOptions) -> Placement:
    """Asks accelerate for this process's device and rank, and sets the number of threads.

    The number of threads never depends on data workers: another number gives other bits.
    """
    device, state = choose_device(trainer), _process_state()
    threads = trainer.num_threads or available_cores()
    torch.set_num_threads(threads)
    return Placement(device, state.process_index, state.num_processes, threads)


def refuse_unfit_device(recipe: Recipe) -> None:
    """Raises RecipeError for parts that cannot run, or cannot train, on the device that this run would be on."""
    problems = check_device(recipe, choose_device(recipe.trainer).type)
    if problems:
        raise RecipeError(problems)


def choose_device(trainer: TrainerOptions) -> torch.device:
    """The device that accelerate gives this process, or the CPU where the recipe says so."""
    device: torch.device = _process_state().device
    return torch.device("cpu") if trainer.use_cpu else device


def _process_state() -> PartialState:
    """This process. Several are refused before they would wait for each other."""
    from accelerate import PartialState

    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1 or (count := PartialState().num_processes) > 1:
        msg = (
            f"this run was started as {count} processes; only one is supported so far\n"
            "start it with `neobert-run` itself, and raise trainer.gradient_accumulation_steps for a larger batch"
        )
        raise UserError(msg)
    return PartialState()
