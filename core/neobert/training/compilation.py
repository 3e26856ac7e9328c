"""torch.compile as a recipe asks for it: once over the repeated block, loud when it fails or starts again."""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from neobert.batch import Batch
from neobert.errors import Problem, RecipeError, UserError
from neobert.recipe import Recipe
from neobert.recipe.trainer import TrainerOptions

logger = logging.getLogger("neobert.training")

FIRST_STEPS = 3
"""Compiling anew is expected in these: with and without ``keep``, and for evaluation."""
KEY = "trainer.torch_compile"
WAYS_ON = (
    'go on without it (--trainer.torch_compile=false), or with a backend that only traces ("aot_eager" or "eager"): '
    "--trainer.torch_compile_backend=aot_eager"
)


def compiled(function: Callable[..., Any], trainer: TrainerOptions, *, same_sizes: bool) -> Callable[..., Any]:
    """``function`` compiled when it is first called for training.

    Without gradients (evaluation, guesses, exports: batches of many sizes) it runs as it is written. ``same_sizes``:
    every training micro-batch has the same number of tokens.
    """
    from torch._dynamo import config

    # Never back to plain code with no more than a warning.
    config.fail_on_recompile_limit_hit = True
    dynamic = not same_sizes if trainer.torch_compile_dynamic is None else trainer.torch_compile_dynamic
    made: Callable[..., Any] = torch.compile(
        function, backend=trainer.torch_compile_backend or "inductor", dynamic=dynamic
    )

    def call(*args: Any, **kwargs: Any) -> Any:
        return made(*args, **kwargs) if torch.is_grad_enabled() else function(*args, **kwargs)

    return call


def mark_varying_sizes(batch: Batch) -> None:
    """What the loss needs (masked positions, labels) has another size in every batch: compiled once for all of them."""
    from torch._dynamo import maybe_mark_dynamic

    for value in batch.fields.values():
        maybe_mark_dynamic(value, 0)


def refuse_missing_compiler(recipe: Recipe, device_type: str) -> None:
    """Raises RecipeError where inductor has no C++ compiler for a CPU: now, and not after the data's preparation."""
    trainer = recipe.trainer
    if not trainer.torch_compile or trainer.torch_compile_backend not in (None, "inductor") or device_type != "cpu":
        return
    compiler = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(compiler) is None:
        message = f"on a CPU, inductor needs a C++ compiler, and {compiler} is not here; install it, name another in "
        raise RecipeError([Problem(recipe.origins[KEY], KEY, "true", f"{message}the variable CXX, or {WAYS_ON}")])


@contextmanager
def clear_compile_failures(trainer: TrainerOptions) -> Iterator[None]:
    """Turns what torch.compile raises, forward or backward, into one answer without a traceback."""
    try:
        yield
    except Exception as error:
        if not trainer.torch_compile or not _is_of_compiler(error):
            raise
        backend = trainer.torch_compile_backend or "inductor"
        msg = f"{KEY}: {_what_failed(error, backend)}\n{WAYS_ON}"
        raise UserError(msg) from error


class RecompilationWatch:
    """Reports each compilation after the first steps with its reason. Attached to the optimizer: asked once a step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._steps = 0
        self._seen: list[Any] = []
        optimizer.register_step_post_hook(self._after_step)

    def _after_step(self, *_: object) -> None:
        from torch._dynamo.utils import get_compilation_metrics

        metrics = get_compilation_metrics()
        self._steps += 1
        if self._steps > FIRST_STEPS:
            known = {id(metric) for metric in self._seen}
            for metric in metrics:
                if id(metric) not in known and metric.recompile_reason:
                    logger.warning("step %d: %s", self._steps, _recompiled(metric))
        self._seen = metrics


def _recompiled(metric: Any) -> str:
    seconds = f" in {metric.duration_us / 1e6:.1f} s" if metric.duration_us else ""
    reason = " ".join(str(metric.recompile_reason).partition("User stack trace")[0].split())
    return f"torch.compile compiled {metric.co_name} again{seconds}, which costs time whenever it happens: {reason}"


def _is_of_compiler(error: BaseException) -> bool:
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler, OperatorIssue

    kinds = (TorchDynamoException, FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler, OperatorIssue)
    return isinstance(error, kinds)


def _what_failed(error: Exception, backend: str) -> str:
    from torch._dynamo.exc import FailOnRecompileLimitHit
    from torch._inductor.exc import InvalidCxxCompiler

    inner = getattr(error, "inner_exception", None) or error
    if isinstance(inner, InvalidCxxCompiler):
        return "inductor found no working C++ compiler (variable CXX, else g++ or clang++)"
    if isinstance(error, FailOnRecompileLimitHit):
        return (
            "the block was compiled again and again, for sizes that keep changing; "
            "set trainer.torch_compile_dynamic = true, or datacollator.pack_sequences = true for one size"
        )
    first = next((line.strip() for line in str(inner).splitlines() if line.strip()), "no message")
    return f"backend {backend} could not compile the block: {type(inner).__name__}: {first}"
