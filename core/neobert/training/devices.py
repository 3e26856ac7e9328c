"""Which device a run is on, and how many CPU threads it uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import frozen

from neobert import products
from neobert.capabilities import Target
from neobert.cores import available_cores
from neobert.errors import Problem, RecipeError
from neobert.recipe import Recipe, check_device, compute_dtype
from neobert.recipe.trainer import TrainerOptions
from neobert.training.allocator import keep_memory_apart
from neobert.training.compilation import refuse_missing_compiler
from neobert.training.processes import processes_on_machine, refuse_to_wait

if TYPE_CHECKING:
    from accelerate import PartialState


@frozen
class Placement:
    """Where this process computes."""

    device: torch.device
    rank: int
    world_size: int
    num_threads: int
    cpu_matmul: str = "torch"
    """Who multiplies float32 matrices on a CPU: `torch` or `onednn`."""
    keeps_freed_memory: bool = False


def place(trainer: TrainerOptions) -> Placement:
    """Asks accelerate for this process's device and rank; sets how this process computes and keeps memory.

    The number of threads never depends on data workers: another number gives other bits. Several processes on one
    machine share its cores.
    """
    device, state = choose_device(trainer), _process_state()
    threads = trainer.num_threads or max(1, available_cores() // processes_on_machine())
    torch.set_num_threads(threads)
    return Placement(
        device,
        state.process_index,
        state.num_processes,
        threads,
        products.choose_library(trainer.cpu_matmul),
        trainer.keep_freed_memory and keep_memory_apart(),
    )


def refuse_unfit_device(recipe: Recipe) -> None:
    """Raises RecipeError for parts that cannot run, or cannot train, on the device that this run would be on, for
    products that this torch cannot compute, and for compiling where there is no compiler."""
    problems = [*check_device(recipe, attention_target(recipe)), *_product_problems(recipe)]
    if problems:
        raise RecipeError(problems)
    refuse_missing_compiler(recipe, choose_device(recipe.trainer).type)


def _product_problems(recipe: Recipe) -> list[Problem]:
    obstacle = products.onednn_obstacle() if recipe.trainer.cpu_matmul == "onednn" else None
    if obstacle is None:
        return []
    key = "trainer.cpu_matmul"
    return [Problem(recipe.origins[key], key, '"onednn"', f'{obstacle}; set "auto" or "torch"')]


def attention_target(recipe: Recipe) -> Target:
    """Where this run's attention would be computed, and in which dtype."""
    return Target.of(choose_device(recipe.trainer), compute_dtype(recipe.trainer))


def choose_device(trainer: TrainerOptions) -> torch.device:
    """The device that accelerate gives this process, or the CPU where the recipe says so."""
    device: torch.device = _process_state().device
    return torch.device("cpu") if trainer.use_cpu else device


def _process_state() -> PartialState:
    """This process. One of several that have not joined would wait for the others: it is refused."""
    from accelerate import PartialState

    refuse_to_wait()
    return PartialState()
