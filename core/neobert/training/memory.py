"""The peak memory of a run, found by going through steps with tensors that have sizes and no values.

Every tensor that a step makes is counted while it lives: weights, gradients, the optimizer's state, what autograd
keeps, what the loss makes in passing. Nothing here knows how any part is written.
"""

from __future__ import annotations

import resource
import sys
import weakref
from pathlib import Path
from typing import Any, cast

import torch
from attrs import evolve, frozen
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from neobert.batch import Batch
from neobert.context import BuildContext
from neobert.libraries import import_libraries
from neobert.recipe import Recipe
from neobert.training.average import WeightAverage
from neobert.training.gradient import finish_gradients
from neobert.training.groups import group_parameters
from neobert.training.memory_batch import full_batch, stand_in_tokenizer
from neobert.training.objective import Objective, checkpoint_blocks
from neobert.training.precision import forward_precision


@frozen(kw_only=True)
class PeakMemory:
    """Bytes on the device of the run."""

    weights: int
    gradients: int
    optimizer_state: int
    average: int
    """Of the weights, where the recipe has one."""
    passing: int
    """Beside those at the moment of the peak: what autograd keeps, what is made on the way."""

    @property
    def total(self) -> int:
        """Of tensors."""
        return self.weights + self.gradients + self.optimizer_state + self.average + self.passing

    @property
    def on_the_heap(self) -> int:
        """What a CPU's run takes beside its tensors and libraries, by measurements of other runs."""
        return IN_USE + int(HEAP_HOLES * self.passing)


HEAP_HOLES = 0.3
"""What glibc's heap takes beside tensors that come and go, as a share of them: a block that is asked for aligned, as
torch does, does not fit where one of its size was. Measured by `tests.benchmarks.memory`."""
IN_USE = 128 << 20
"""Bytes that a run on a CPU takes beside tensors, once it has data: its index and tokenizer, buffers of the kernels."""


class MemoryCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the storages that live, each once, and the most there have been."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self.peak = 0
        self._living: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in pytree.tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.count(leaf)
        return result

    def count(self, tensor: Tensor) -> None:
        """Counts a tensor's storage until it dies, unless it is counted already."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._living:
            return
        self._living[key] = storage.nbytes()
        self.bytes += storage.nbytes()
        self.peak = max(self.peak, self.bytes)
        weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.bytes -= self._living.pop(key, 0)


def estimate_peak(recipe: Recipe, context: BuildContext) -> PeakMemory:
    """Of two full steps and an evaluation batch on ``context.device``; ``context`` knows the vocabulary's size.

    Blocks run as they are written, compiled or not. Raises whatever a part raises that needs values or data.
    """
    context = evolve(context, tokenizer=stand_in_tokenizer(context.vocab_size))
    collator = recipe.datacollator.build(context)
    length, trainer = context.max_seq_length, recipe.trainer
    roles = context.roles
    real = [full_batch(collator, count, length, roles) for count in (trainer.per_device_train_batch_size,) * 2]
    held_out = full_batch(collator, trainer.per_device_eval_batch_size, length, roles)
    with FakeTensorMode() as fake, MemoryCounter() as counter:
        micro_batches = [_as_fake(batch, fake, context.device) for batch in real[: trainer.gradient_accumulation_steps]]
        return _walk(recipe, context, micro_batches, _as_fake(held_out, fake, context.device), counter)


def memory_of_libraries(recipe: Recipe) -> int:
    """Bytes that this process takes once everything that a run imports is there and has been used for the first time,
    which brings kernels into memory and makes their buffers (elsewhere than on Linux: the most it has taken)."""
    import_libraries()
    _use_kernels(recipe)
    return memory_in_use()


def memory_in_use() -> int:
    """Bytes of this process that are in memory now; elsewhere than on Linux, the most that were."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return peak_of_process()


def peak_of_process() -> int:
    """The most bytes that this process has had in memory so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def _use_kernels(recipe: Recipe) -> None:
    """Products, attention and a loss of no size to speak of, forward and backward, on the CPU."""
    rows, matrix = (torch.zeros(256, 256, requires_grad=True) for _ in range(2))
    with forward_precision(recipe.trainer, torch.device("cpu")):
        heads = F.linear(F.rms_norm(rows, (256,)), matrix).view(4, 256, 64)
        seen = F.silu(F.scaled_dot_product_attention(heads, heads, heads)).view(256, 256)
        total = F.cross_entropy(F.linear(seen, matrix).float(), torch.zeros(256, dtype=torch.int64))
    total.backward()  # type: ignore[no-untyped-call]


def _walk(
    recipe: Recipe, context: BuildContext, micro_batches: list[Batch], held_out: Batch, counter: MemoryCounter
) -> PeakMemory:
    with torch.device(context.device):
        encoder = recipe.model.build(context)
        context = evolve(context, encoder=encoder)
        loss = recipe.loss.build(context)
    checkpoint_blocks(encoder.blocks, recipe.trainer)
    objective = Objective(encoder, loss)
    optimizer = recipe.optimizer.build(evolve(context, parameter_groups=group_parameters(encoder, loss)))
    ema = recipe.trainer.ema
    average = None if ema is None else WeightAverage(objective, ema)
    counter.peak = counter.bytes  # a matrix that was only drawn from is gone by now
    for _ in range(2):
        _step(objective, optimizer, micro_batches, recipe)
        if average is not None:
            average.update()
    with torch.no_grad(), forward_precision(recipe.trainer, context.device):
        objective.eval()(held_out)
    weights = _bytes(objective.parameters())
    state = _bytes(value for values in optimizer.state.values() for value in values.values())
    averaged = 0 if average is None else _bytes(average.state().values())
    return PeakMemory(
        weights=weights,
        gradients=weights,
        optimizer_state=state,
        average=averaged,
        passing=max(0, counter.peak - 2 * weights - state - averaged),
    )


def _step(objective: Objective, optimizer: torch.optim.Optimizer, micro_batches: list[Batch], recipe: Recipe) -> None:
    """As `neobert.training.loop.update`, without its look at the gradient's norm."""
    counts = []
    for batch in micro_batches:
        with forward_precision(recipe.trainer, batch.input_ids.device):
            output = objective(batch)
        output.total.backward()
        counts.append(output.count.detach())
        del output
    finish_gradients(objective.parameters(), torch.stack(counts).sum(), recipe.trainer.gradient_clipping)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _as_fake(batch: Batch, mode: FakeTensorMode, device: torch.device) -> Batch:
    """The batch in sizes alone, on the run's device."""

    def fake(value: Any) -> Any:
        return cast(Tensor, mode.from_tensor(value)).to(device) if isinstance(value, Tensor) else value

    layout = evolve(
        batch.layout, cu_seqlens=fake(batch.layout.cu_seqlens), position_ids=fake(batch.layout.position_ids)
    )
    fields = {name: fake(value) for name, value in batch.fields.items()}
    return evolve(batch, input_ids=fake(batch.input_ids), layout=layout, fields=fields)


def _bytes(values: Any) -> int:
    """Of the storages under tensors among these, each once."""
    storages = {v.untyped_storage()._cdata: v.untyped_storage().nbytes() for v in values if isinstance(v, Tensor)}
    return sum(storages.values())
