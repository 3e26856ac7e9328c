"""Which tensor goes where, decided whole before anything is written: all faults come in one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import field, frozen
from torch import Tensor

from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path


@frozen(eq=False)
class Placing:
    """Copies that are planned, and what stands against them. Nothing is written before `apply`."""

    source: Path
    num_tokens: int | None
    """Tokens of the tokenizer: rows from there on are padding, and a file may lack them."""
    copies: list[tuple[Tensor, Tensor]] = field(factory=list, init=False)
    """(target, tensor)"""
    notes: list[str] = field(factory=list, init=False)
    problems: list[str] = field(factory=list, init=False)

    def plan(self, targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor], vocabulary: Collection[int]) -> None:
        """Every tensor to the target of its name, none left on either side.

        ``vocabulary`` holds the ids of targets whose rows are tokens.
        """
        left, missing = sorted(tensors.keys() - targets.keys()), sorted(targets.keys() - tensors.keys())
        self.problems.extend(f"left over in the file: {name}" for name in left)
        self.problems.extend(f"missing in the file: {name}" for name in missing)
        for name, target in targets.items():
            if name in tensors:
                self._plan_one(name, target, tensors[name], id(target) in vocabulary)

    def tensor_for(self, target: Tensor) -> Tensor | None:
        """What is planned for a target, or None."""
        return next((tensor for other, tensor in self.copies if other is target), None)

    def apply(self) -> None:
        """Writes every copy, or raises UserError with all that is wrong and writes nothing."""
        if self.problems:
            msg = "\n  ".join((f"the weights at {self.source} do not fit this model:", *self.problems))
            raise UserError(msg)
        with torch.no_grad():
            for target, tensor in self.copies:
                target[: len(tensor)].copy_(tensor) if target.dim() else target.copy_(tensor)

    def _plan_one(self, name: str, target: Tensor, tensor: Tensor, is_vocabulary: bool) -> None:
        if not tensor.is_floating_point():
            self.problems.append(f"{name} is {tensor.dtype} in the file; weights are floating-point numbers")
        elif tensor.shape == target.shape:
            self.copies.append((target, tensor))
        elif is_vocabulary and tensor.shape[1:] == target.shape[1:] and tensor.dim():
            self._plan_rows(name, target, tensor)
        else:
            self.problems.append(f"{name} is {list(tensor.shape)} in the file, {list(target.shape)} in the model")

    def _plan_rows(self, name: str, target: Tensor, tensor: Tensor) -> None:
        here, there = len(target), len(tensor)
        if self.num_tokens is not None and self.num_tokens <= there < here:
            self.copies.append((target, tensor))
            self.notes.append(f"{name} has {there} of {here} rows there: the rest is padding beyond the tokenizer")
            return
        tokenizer = "" if self.num_tokens is None else f", and the tokenizer has {self.num_tokens} tokens"
        self.problems.append(
            f"{name} has {there} rows in the file, {here} in the model{tokenizer}: take the tokenizer that "
            "belongs to the weights, and pad its vocabulary as theirs was"
        )
