"""Where in a forward and a backward pass the first number appears that is not finite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import torch
from attrs import define, field
from torch import Tensor, nn


@define
class FirstFaults:
    """What was found first, while `watching`. Each look waits for the device: this is no part of a run."""

    module: str | None = None
    """The module whose output was the first that is not finite; modules inside of another come before it."""
    inputs_finite: bool = True
    """Whether what that module was given was finite."""
    gradients: list[str] = field(factory=list)
    """Parameters whose gradient is not finite, in the order in which the backward pass came to them."""

    @contextmanager
    def watching(self, objective: nn.Module) -> Iterator[None]:
        """Looks at every module's output and every parameter's gradient inside."""
        handles = [
            module.register_forward_hook(self._output_of(name or "the loss"))
            for name, module in objective.named_modules()
        ]
        handles += [
            parameter.register_post_accumulate_grad_hook(self._gradient_of(name))  # type: ignore[no-untyped-call]
            for name, parameter in objective.named_parameters()
            if parameter.requires_grad
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _output_of(self, name: str) -> Any:
        def look(module: nn.Module, inputs: Any, output: Any) -> None:
            if self.module is None and not all_finite(output):
                self.module = f"{name} ({type(module).__name__})"
                self.inputs_finite = all_finite(inputs)

        return look

    def _gradient_of(self, name: str) -> Any:
        def look(parameter: Tensor) -> None:
            if name not in self.gradients and not all_finite(parameter.grad):
                self.gradients.append(name)

        return look


def all_finite(value: Any) -> bool:
    """Whether every tensor in a value is, whatever it is wrapped in."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in _tensors_in(value))


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors_in(item)
    elif attrs.has(type(value)):
        for attribute in attrs.fields(type(value)):
            yield from _tensors_in(getattr(value, attribute.name))
