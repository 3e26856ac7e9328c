"""Where every tensor of a file goes, decided before any is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from attrs import field, frozen
from torch import Tensor

from neobert.errors import UserError
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_NAMES_SHOWN = 8
LEFT_OVER, MISSING = "left over in the file", "missing in the file"


@frozen(eq=False)
class Placing:
    """Copies that are planned, and what stands against them. Nothing is written before `apply`."""

    source: Path
    num_tokens: int | None
    """Tokens of the tokenizer: rows from there on are padding, and a file may lack them."""
    rows_are_known: bool = True
    """False before there is a tokenizer: any number of rows of a vocabulary fits then."""
    model_type: str | None = None
    """What the configuration beside the weights calls their architecture."""
    copies: list[tuple[Tensor, Tensor]] = field(factory=list, init=False)
    """(target, tensor)"""
    notes: list[str] = field(factory=list, init=False)
    problems: list[str] = field(factory=list, init=False)
    _unplaced: dict[str, list[str]] = field(factory=lambda: {LEFT_OVER: [], MISSING: []}, init=False)

    def plan(self, targets: Mapping[str, Tensor], tensors: Mapping[str, Tensor], vocabulary: Collection[int]) -> None:
        """Every tensor to the target of its name, none left on either side.

        ``vocabulary`` holds the ids of targets whose rows are tokens.
        """
        self._unplaced[LEFT_OVER] += sorted(tensors.keys() - targets.keys())
        self._unplaced[MISSING] += sorted(targets.keys() - tensors.keys())
        for name, target in targets.items():
            if name in tensors:
                self._plan_one(name, target, tensors[name], id(target) in vocabulary)

    def tensor_for(self, target: Tensor) -> Tensor | None:
        """What is planned for a target, or None."""
        return next((tensor for other, tensor in self.copies if other is target), None)

    def check(self) -> None:
        """Raises UserError with all that is wrong."""
        problems = [line for what, names in self._unplaced.items() for line in _listed(what, names)] + self.problems
        if not problems:
            return
        if not self.copies:
            kind = f" ({self.model_type!r} by its configuration)" if self.model_type else ""
            problems.insert(0, f"no tensor of theirs has a name and a shape that this model knows{kind}")
        msg = "\n  ".join((f"the weights at {self.source} do not fit this model:", *problems))
        raise UserError(msg)

    def apply(self) -> None:
        """Writes every copy, or raises UserError with all that is wrong and writes nothing."""
        self.check()
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
        if not self.rows_are_known:
            self.copies.append((target, tensor))
            return
        if self.num_tokens is not None and self.num_tokens <= there < here:
            self.copies.append((target, tensor))
            self.notes.append(f"{name} has {there} of {here} rows there: the rest is padding beyond the tokenizer")
            return
        tokenizer = "" if self.num_tokens is None else f", and the tokenizer has {self.num_tokens} tokens"
        self.problems.append(
            f"{name} has {there} rows in the file, {here} in the model{tokenizer}: take the tokenizer that "
            "belongs to the weights, and pad its vocabulary as theirs was"
        )


def _listed(what: str, names: list[str]) -> list[str]:
    """A line for each of the first names, and one for the rest."""
    lines = [f"{what}: {name}" for name in names[:_NAMES_SHOWN]]
    rest = len(names) - len(lines)
    return [*lines, f"{what}: {counted(rest, 'tensor')} more"] if rest else lines
