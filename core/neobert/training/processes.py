"""Joining the processes that a launcher started: torchrun, accelerate, or whatever sets the same variables."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed as dist

from neobert.errors import UserError
from neobert.training.ranks import ALONE, Ranks
from neobert.training.together import OtherRankError

if TYPE_CHECKING:
    from neobert.recipe.trainer import TrainerOptions

LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher tells each process, and torch reads."""
OTHER_ENGINES = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
CLAIM = "neobert/who-tells"
FIRST_CLAIMS = timedelta(seconds=2)
"""How long the others leave it to the first rank to tell what went wrong, which may be the same on all."""
STAYS = 1.0
"""Seconds that the first rank stays reachable once it has claimed."""


def launched_processes() -> int:
    """How many processes the launcher says there are; 1 without one."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_on_machine() -> int:
    """How many of them share this machine, as far as the launcher tells."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if launched_processes() > 1 else 1


def refuse_to_wait() -> None:
    """Raises UserError for one of several processes that has not joined them: only training does."""
    if launched_processes() > 1 and not dist.is_initialized():
        msg = (
            f"this command was started as {launched_processes()} processes, and only training runs on several\n"
            "start it with `neobert-run` itself, without a launcher"
        )
        raise UserError(msg)


@contextmanager
def joined_processes(trainer: TrainerOptions) -> Iterator[Ranks]:
    """This process among those of the run; alone without a launcher.

    Inside, an error of one ends all: that one raises it, the others leave in silence with status 1.
    """
    _refuse_half_launched()
    _refuse_other_engines()
    if launched_processes() == 1:
        yield ALONE
        return
    ranks = _join(trainer)
    try:
        with _one_answer(ranks):
            yield ranks
            ranks.wait()
    finally:
        _leave()


def _join(trainer: TrainerOptions) -> Ranks:
    from accelerate import PartialState

    missing = [name for name in LAUNCHED if name not in os.environ]
    if missing:
        msg = (
            f"WORLD_SIZE says that there are {launched_processes()} processes, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not set\ntorchrun and accelerate launch set them "
            "(docs/scaling.md has the lines for Slurm)"
        )
        raise UserError(msg)
    on_cpu = trainer.use_cpu or not torch.cuda.is_available()
    backend = "gloo" if on_cpu else "cpu:gloo,cuda:nccl"
    if not on_cpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=trainer.rank_timeout))
    except (RuntimeError, ValueError) as error:
        msg = f"rank {os.environ['RANK']} of {launched_processes()} could not join the others: {error}"
        raise UserError(msg) from error
    with warnings.catch_warnings():  # on threads, whose number is ours to choose
        warnings.simplefilter("ignore")
        state = PartialState(cpu=on_cpu)
    return Ranks(state.process_index, state.num_processes)


def _leave() -> None:
    from accelerate.state import PartialState

    if dist.is_initialized():
        dist.destroy_process_group()
    PartialState._reset_state()


@contextmanager
def _one_answer(ranks: Ranks) -> Iterator[None]:
    """What a person is told, one process tells: the first that says it will, and rank 0 before others."""
    store: Any = dist.distributed_c10d._get_default_store()
    try:
        yield
    except OtherRankError as error:
        raise SystemExit(1) from error
    except BaseException as error:
        if not _claims(store, ranks):
            raise SystemExit(1) from error
        if ranks.first:
            # The others meet a closed connection, and find the claim: what holds it may go with this process.
            _leave()
            time.sleep(STAYS)
        if isinstance(error, UserError) and not ranks.first:
            msg = f"rank {ranks.rank}: {error}"
            raise UserError(msg) from error
        if (said := _lost(error)) is not None:
            raise UserError(said) from error
        raise


def _claims(store: Any, ranks: Ranks) -> bool:
    """Whether this process is the one to tell."""
    try:
        if not ranks.first:
            with suppress(RuntimeError):
                store.wait([CLAIM], FIRST_CLAIMS)
        return bool(store.compare_set(CLAIM, "", str(ranks.rank)) == str(ranks.rank).encode())
    except RuntimeError:  # the store went with rank 0, which had no time to claim
        return ranks.rank == 1


def _lost(error: BaseException) -> str | None:
    """What an error of the connection means; None for any other."""
    text = re.sub(r"^\[[^]]*\.cc:\d+\] ", "", str(error)).partition(" This is typically")[0]
    if not isinstance(error, dist.DistError) and not (isinstance(error, RuntimeError) and "gloo" in str(error)):
        return None
    what = "took longer than trainer.rank_timeout" if "imed out" in text else "ended without a word"
    return (
        f"another process of this run {what}: it was killed (out of memory?), its machine was lost, or it hangs\n"
        f"{text.splitlines()[0]}\ngo on from the last checkpoint: --trainer.resume_from_checkpoint latest"
    )


def _refuse_other_engines() -> None:
    """What accelerate was told to share weights out by would do nothing here, without a word."""
    told = [name for name in OTHER_ENGINES if os.environ.get(name, "").lower() in ("true", "1")]
    if told:
        msg = (
            f"accelerate was configured to use an engine of its own ({', '.join(told)}), which a run here does not: "
            "the recipe says how weights are shared out\ntake it out of accelerate's configuration (accelerate launch "
            '--multi_gpu), and set trainer.strategy = "fsdp" in the recipe'
        )
        raise UserError(msg)


def _refuse_half_launched() -> None:
    """accelerate starts several processes on CPUs through MPI only, and one process else, without a word."""
    if "WORLD_SIZE" in os.environ or "MASTER_PORT" not in os.environ or "ACCELERATE_MIXED_PRECISION" not in os.environ:
        return
    msg = (
        "`accelerate launch --cpu` was asked for several processes and has started one: it starts more on CPUs "
        "through MPI only\nuse torchrun --nproc-per-node N -m neobert.cli RECIPE, or ACCELERATE_USE_CPU=1 accelerate "
        "launch --multi_gpu --num_processes N -m neobert.cli RECIPE"
    )
    raise UserError(msg)
