"""Which part of a step is being computed, told by torch's own hooks: nothing of this runs unless a run is profiled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor
from torch.autograd.profiler import record_function

from neobert.interfaces import LossOutput
from neobert.training.assemble import Parts

WAIT = "waiting for data"
COPY = "copying the batch"
EMBEDDING = "forward: embedding"
ATTENTION = "forward: attention"
BLOCKS = "forward: projections, feed-forward, norms"
HEAD = "forward: head and loss"
BACKWARD = "backward"
CLIPPING = "dividing, norm, clipping"
OPTIMIZER = "optimizer"
LOGGING = "logging"
ORDER = (WAIT, COPY, EMBEDDING, ATTENTION, BLOCKS, HEAD, BACKWARD, CLIPPING, OPTIMIZER, LOGGING)


class Phases:
    """Seconds of each phase. One ends where the next begins, so that they sum up to the whole.

    A phase ends with a wait for the device, where that is not the CPU: its time is its own, and a step is somewhat
    slower than without.
    """

    def __init__(self, device: torch.device) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._device = device
        self._current: str | None = None
        self._range: Any = None
        self._since = 0.0
        self._in_backward = False

    def enter(self, name: str) -> None:
        """What is computed from here on belongs to ``name``. A block computed again stays part of the backward pass."""
        if not self._in_backward:
            self._enter(name)

    def end(self) -> None:
        """The last phase is over."""
        self._leave()
        self._current = None

    def attach(self, parts: Parts) -> None:
        """Watches the parts of a run from now on."""
        encoder = parts.objective.encoder
        for own in parts.each.values():
            own.objective.register_forward_pre_hook(lambda *_: self.enter(HEAD))
            own.objective.register_forward_hook(lambda _module, _inputs, output: self._watch_backward(output))
        encoder.register_forward_pre_hook(lambda *_: self.enter(BLOCKS))
        encoder.register_forward_hook(lambda *_: self.enter(HEAD))
        encoder.input_embedding.register_forward_pre_hook(lambda *_: self.enter(EMBEDDING))
        encoder.input_embedding.register_forward_hook(lambda *_: self.enter(BLOCKS))
        for block in encoder.blocks:
            if callable(attend := getattr(block, "attend", None)):
                block.attend = self._watched(attend)
        parts.optimizer.register_step_pre_hook(lambda *_: self.enter(OPTIMIZER))
        if parts.average is None:  # else the average follows, whose time is the optimizer's
            parts.optimizer.register_step_post_hook(lambda *_: self.enter(LOGGING))

    def _enter(self, name: str) -> None:
        self._leave()
        self._current, self._range = name, record_function(name)
        self._range.__enter__()
        self._since = perf_counter()

    def _leave(self) -> None:
        if self._current is not None:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self.seconds[self._current] += perf_counter() - self._since
            self._range.__exit__(None, None, None)

    def _watch_backward(self, output: LossOutput) -> None:
        if output.total.requires_grad:
            output.total.register_hook(self._backward_begins)  # type: ignore[no-untyped-call]

    def _backward_begins(self, _gradient: Tensor) -> None:
        self._enter(BACKWARD)
        self._in_backward = True
        engine: Any = torch.autograd.Variable._execution_engine
        engine.queue_callback(self._backward_ends)

    def _backward_ends(self) -> None:
        self._in_backward = False
        self._enter(CLIPPING)

    def _watched(self, attend: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def call(*args: Any, **kwargs: Any) -> Tensor:
            self.enter(ATTENTION)
            result = attend(*args, **kwargs)
            self.enter(BLOCKS)
            return result

        # Timers are no part of compiled code; what was compiled in would be called outside of it here.
        return torch.compiler.disable(call)  # type: ignore[no-untyped-call, no-any-return]
