"""Muon for matrices and AdamW for the rest, as one `torch.optim.Optimizer`."""

from __future__ import annotations

import math
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from neobert.shards import shard_as, whole
from neobert_plugins.optimizers.fused import join, split
from neobert_plugins.optimizers.newton_schulz import orthogonalize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from neobert import FusedMatrix
    from neobert_plugins.optimizers.attention_logits import LogitClipping


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) with AdamW for what is no matrix.

    The update of a matrix is its momentum, made nearly orthogonal. It is that of `torch.optim.Muon`: the same
    momentum, learning-rate adjustment and decoupled decay. What differs is how the orthogonal matrix is
    computed: torch does so in bfloat16, one matrix after the other; here all matrices go through in a few
    batched products, in float32 where the hardware has no bfloat16 (see `newton_schulz`).

    A weight that holds several matrices in one (``fused``) has each made orthogonal apart, and each with the learning
    rate of its own shape. Equal shapes go through together, whatever weight they come from.

    Where each process has a part of a matrix, its momentum comes together on all of them, each makes it orthogonal, and
    keeps its own rows of what comes of that: a matrix without its other rows is another one.

    ``param_groups``: those with ``algorithm`` "muon" first, then those with "adamw"; either may be missing.
    All state is in this object's ``state``: ``momentum_buffer`` for matrices; ``step``, ``exp_avg`` and
    ``exp_avg_sq`` for the others.
    """

    def __init__(
        self,
        muon_groups: list[dict[str, Any]],
        adamw_groups: list[dict[str, Any]],
        *,
        adamw_lr: float,
        betas: tuple[float, float],
        eps: float,
        fused: bool,
        parts: Mapping[Tensor, FusedMatrix] | None = None,
        clipping: LogitClipping | None = None,
    ) -> None:
        """Each Muon group has ``lr``, ``weight_decay``, ``momentum``, ``nesterov``, ``ns_steps``,
        ``ns_dtype`` (the name of a torch dtype, or None for the quickest) and ``adjust_lr_fn``.

        ``parts``: how weights are divided that hold several matrices. ``clipping``: what is done to attention's logits
        after an update."""
        self._parts = dict(parts or {})
        self._clipping = clipping
        self._adamw: torch.optim.AdamW | None = None
        if adamw_groups:
            self._adamw = torch.optim.AdamW(adamw_groups, lr=adamw_lr, betas=betas, eps=eps, fused=fused)
            adamw_groups = [{**group, "algorithm": "adamw"} for group in _with_names(self._adamw.param_groups)]
        muon_groups = [{**group, "algorithm": "muon"} for group in muon_groups]
        super().__init__([*muon_groups, *adamw_groups], {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update. Parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["algorithm"] == "muon":
                self._muon_step(group)
        if self._adamw is not None:
            # Loading a state dict replaces groups and state, so both are handed over anew each time.
            self._adamw.param_groups = [group for group in self.param_groups if group["algorithm"] == "adamw"]
            self._adamw.state = self.state
            self._adamw.step()
        if self._clipping is not None:
            self._clipping.apply({p for group in self.param_groups if group["lr"] for p in group["params"]})
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Also forgets the logits of a step whose update was skipped."""
        super().zero_grad(set_to_none)
        if self._clipping is not None:
            self._clipping.forget()

    def _muon_step(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        matrices = [split(whole(self._direction(p, group)), self._parts.get(p)) for p in parameters]
        dtype = None if group["ns_dtype"] is None else getattr(torch, group["ns_dtype"])
        updates = iter(orthogonalize(list(chain.from_iterable(matrices)), group["ns_steps"], dtype))
        for parameter, parts in zip(parameters, matrices, strict=True):
            update = shard_as(parameter, join(list(islice(updates, len(parts))), self._parts.get(parameter)))
            parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * _scale(parts[0], group["adjust_lr_fn"]))

    def _direction(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """(rows, columns): the momentum after this gradient, or with Nesterov's look ahead along it."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient, memory_format=torch.preserve_format)
        buffer: Tensor = state["momentum_buffer"].lerp_(gradient, 1.0 - group["momentum"])
        return gradient.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer


def _scale(matrix: Tensor, adjust_lr_fn: str) -> float:
    """Makes updates alike in size whatever the shape: in spectral norm, or in RMS as AdamW's are."""
    rows, columns = matrix.shape
    if adjust_lr_fn == "original":
        return math.sqrt(max(1.0, rows / columns))
    if adjust_lr_fn == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    msg = f"adjust_lr_fn is `original` or `match_rms_adamw`, got {adjust_lr_fn!r}"
    raise ValueError(msg)


def _with_names(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Groups of an optimizer as another one takes them: parameters with their names beside them again."""
    return [
        {
            **{key: value for key, value in group.items() if key != "param_names"},
            "params": list(zip(group["param_names"], group["params"], strict=True)),
        }
        for group in groups
    ]
