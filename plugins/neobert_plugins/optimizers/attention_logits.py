"""QK-Clip: attention logits that grow too large are scaled back at their source.

After Kimi K2 (2025, arXiv:2507.20534). In each step the largest |logit| S of every head is measured. After the
update, the rows of W_q and W_k of a head whose S was over the threshold t are each multiplied by sqrt(t / S): the same
tokens would then give it a logit of t.

The attention backend never shows its logits, so they are computed once more, a chunk at a time, and only their largest
is kept. Every sequence of the stream counts, a padding sequence too. Nothing asks the device for a value, and nothing
is kept from one step to the next.

Shapes: T tokens in the stream, H heads, D head dim; a run is B neighbouring sequences of L tokens each.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field

from neobert.errors import UserError
from neobert_plugins.optimizers.fused import by_part, fused_parameters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from torch import Tensor, nn

    from neobert import BuildContext, FusedMatrix, SequenceLayout

KEY = "optimizer.clip_attention_logits"
CLIPPED = frozenset({"query", "key"})
"""Parts whose rows are scaled."""
SCORES_ON_CPU = 1 << 22
SCORES_ON_DEVICE = 1 << 26
"""Scores that are held at a time: enough to keep the hardware busy, and no more."""
FEWEST_ROWS = 64
"""Of a narrow window: products of fewer are slow."""


@define(eq=False)
class WatchedBlock:
    """The largest |logit| of each head of a block since it was last forgotten."""

    name: str
    block: nn.Module
    weights: list[tuple[Tensor, FusedMatrix]]
    """Those with rows of queries or keys."""
    peaks: Tensor | None = field(default=None, init=False)
    """(H,) float32; None before the first forward pass."""

    def watch(self) -> None:
        """Has the block's attention measured from now on, while it is trained."""
        attend: Any = self.block.attend
        observe: Any = torch.compiler.disable(self._observe)  # type: ignore[no-untyped-call]

        def call(q: Tensor, k: Tensor, v: Tensor, layout: SequenceLayout, **options: Any) -> Tensor:
            observe(q, k, layout, options["scale"], options.get("window"))
            out: Tensor = attend(q, k, v, layout, **options)
            return out

        # Not by way of the module: a backend that is a module itself keeps its place, and its weights their names.
        object.__setattr__(self.block, "attend", call)

    def clip(self, threshold: float, trained: AbstractSet[Tensor]) -> None:
        """Scales the rows of each head whose largest logit was over the threshold."""
        assert self.peaks is not None
        factor_H = torch.where(self.peaks > threshold, (threshold / self.peaks).sqrt(), 1.0)
        for weight, fused in self.weights:
            if weight not in trained:
                continue
            for index, part in enumerate(fused.parts):
                if part in CLIPPED:
                    rows = by_part(weight, fused)[:, index]
                    by_head = torch.unflatten(rows, 1, (factor_H.numel() // fused.groups, -1))
                    factor = factor_H.view(fused.groups, -1, *[1] * (by_head.ndim - 2))
                    by_head.mul_(factor.to(weight.dtype))

    def _observe(self, q: Tensor, k: Tensor, layout: SequenceLayout, scale: float, window: int | None) -> None:
        if not (self.block.training and torch.is_grad_enabled()):
            return
        with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
            largest_H = largest_logits(q, k, layout, scale=scale, window=window)
            if self.peaks is None:
                self._refuse_other_heads(q.shape[1])
                self.peaks = largest_H
            else:
                self.peaks = torch.maximum(self.peaks, largest_H)

    def _refuse_other_heads(self, heads: int) -> None:
        for _, fused in self.weights:
            if heads % fused.groups:
                msg = (
                    f"{KEY}: the model's fused_matrices says that queries and keys of {self.name} come in "
                    f"{fused.groups} groups, and its attention has {heads} heads: a group is a head, or holds several"
                )
                raise UserError(msg)


@define(eq=False)
class LogitClipping:
    """All blocks of an encoder, watched; what was measured is forgotten after each step."""

    threshold: float
    blocks: list[WatchedBlock]
    world_size: int = 1

    def apply(self, trained: AbstractSet[Tensor]) -> None:
        """Scales what was over the threshold anywhere: on each rank the same.

        ``trained``: the parameters that are; where the learning rate is 0, nothing moves a weight.
        """
        measured = [block for block in self.blocks if block.peaks is not None]
        if self.world_size > 1 and measured:
            _share(measured)
        for block in measured:
            block.clip(self.threshold, trained)
        self.forget()

    def forget(self) -> None:
        """What was measured belongs to a step that is over, or was skipped."""
        for block in self.blocks:
            block.peaks = None


def make_clipping(context: BuildContext, threshold: float) -> LogitClipping:
    """Watches every block with trainable queries and keys.

    Raises `UserError` where the encoder does not say which rows those are, or a block's attention is out of reach.
    """
    fused = fused_parameters(context)
    encoder: Any = context.encoder
    trainable = {p for group in context.parameter_groups for p in group.parameters.values()}
    found = []
    prefixes = {id(module): name for name, module in encoder.named_modules()}
    for block in encoder.blocks:
        prefix = f"encoder.{prefixes[id(block)]}"
        inside = {id(parameter) for parameter in block.parameters()}
        weights = [(p, how) for p, how in fused.items() if id(p) in inside and CLIPPED & {*how.parts}]
        _refuse_out_of_reach(prefix, block, weights)
        weights = [(p, how) for p, how in weights if p in trainable]
        if weights:
            found.append(WatchedBlock(prefix, block, weights))
    # Once nothing can be refused any more.
    for watched in found:
        watched.watch()
    return LogitClipping(threshold, found, context.world_size)


def largest_logits(q: Tensor, k: Tensor, layout: SequenceLayout, *, scale: float, window: int | None = None) -> Tensor:
    """max |scale * q k^T| over the pairs that see each other: q, k (T, H, D) -> (H,) float32.

    Computed in the dtype of q and k. Never more than ``SCORES_ON_CPU`` (``SCORES_ON_DEVICE``) scores at a time, unless
    one row of one sequence has more.
    """
    limit = SCORES_ON_CPU if q.device.type == "cpu" else SCORES_ON_DEVICE
    largest_H = torch.zeros(q.shape[1], device=q.device)
    for q_BHLD, k_BHDL in _runs(q, k, layout):
        for scores in _scores(q_BHLD, k_BHDL, limit, window):
            torch.maximum(largest_H, scores.abs_().amax((0, 2, 3)).float(), out=largest_H)
    return largest_H * abs(scale)


def _runs(q: Tensor, k: Tensor, layout: SequenceLayout) -> Iterator[tuple[Tensor, Tensor]]:
    """(B, H, L, D) of the queries and (B, H, D, L) of the keys, as views."""
    runs = [(length, len(tuple(group))) for length, group in groupby(layout.lengths)]
    sizes = [length * count for length, count in runs]
    for (length, count), *parts in zip(runs, torch.split(q, sizes), torch.split(k, sizes), strict=True):
        q_BLHD, k_BLHD = (torch.unflatten(part, 0, (count, length)) for part in parts)
        yield q_BLHD.transpose(1, 2), k_BLHD.permute(0, 2, 3, 1)


def _scores(q_BHLD: Tensor, k_BHDL: Tensor, limit: int, window: int | None) -> Iterator[Tensor]:
    """(some of B, H, some rows, the columns that they see) q k^T, 0 where a token is out of another's sight."""
    count, heads, length, _ = q_BHLD.shape
    near = length if window is None else min(length, window)
    block = max(near, FEWEST_ROWS)
    rows = max(1, min(length, block, limit // (heads * min(length, block + 2 * near))))
    together = max(1, limit // (heads * length * length)) if rows == length else 1
    for first in range(0, count, together):
        some = slice(first, first + together)
        for start in range(0, length, rows):
            seen = slice(max(0, start - near), min(length, start + rows + near))
            scores = q_BHLD[some, :, start : start + rows] @ k_BHDL[some, :, :, seen]
            if near < length - 1:
                scores = _within(scores, start - seen.start, near)
            yield scores


def _within(scores: Tensor, offset: int, near: int) -> Tensor:
    """Row i of ``scores`` is the token of column i + ``offset``, and sees ``near`` tokens on each side."""
    row = torch.arange(scores.shape[-2], device=scores.device).unsqueeze(1) + offset
    column = torch.arange(scores.shape[-1], device=scores.device)
    return scores.masked_fill_((row - column).abs() > near, 0.0)


def _share(blocks: list[WatchedBlock]) -> None:
    """The largest over all ranks, in one exchange."""
    peaks = torch.cat([block.peaks for block in blocks])  # type: ignore[misc]
    torch.distributed.all_reduce(peaks, torch.distributed.ReduceOp.MAX)
    sizes = [block.peaks.numel() for block in blocks]  # type: ignore[union-attr]
    for block, part in zip(blocks, torch.split(peaks, sizes), strict=True):
        block.peaks = part


def _refuse_out_of_reach(name: str, block: nn.Module, weights: list[tuple[Tensor, FusedMatrix]]) -> None:
    parts = {part for _, fused in weights for part in fused.parts}
    normalized = {part for _, fused in weights for part in fused.normalized} & CLIPPED
    if not callable(getattr(block, "attend", None)):
        fault = "holds no attention backend as `attend`, so its logits cannot be measured"
    elif not parts >= CLIPPED:
        fault = "has no rows that the model's fused_matrices names `query` and `key`, so there is nothing to scale"
    elif normalized:
        fault = "brings queries and keys to a length of their own, so scaling their rows would change no logit"
    else:
        return
    msg = f"{KEY} cannot be used with this model: {name} {fault}\nleave the key out, or name another model"
    raise UserError(msg)
