"""The token stream of a micro-batch, and where its sequences lie.

Shapes: T tokens in the stream, N sequences, M masked tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from attrs import evolve, field, frozen
from torch import Tensor


@frozen(eq=False)
class SequenceLayout:
    """The one source of truth for boundaries: sequence i is ``cu_seqlens[i]:cu_seqlens[i + 1]``.

    Made on the host, by `from_lengths`; what is left out is derived (on a GPU that costs a sync).
    """

    cu_seqlens: Tensor
    """(N + 1,) int32, from 0 to T."""
    max_seqlen: int
    """The longest sequence, in tokens."""
    lengths: tuple[int, ...] = field()
    """(N,) on the host, so that no backend has to ask a device."""
    position_ids: Tensor = field(repr=False)
    """(T,) int64: each token's place in its own sequence, on the stream's device."""

    @lengths.default
    def _lengths(self) -> tuple[int, ...]:
        return tuple(self.cu_seqlens.diff().tolist())

    @position_ids.default
    def _position_ids(self) -> Tensor:
        return _positions(self.lengths).to(self.cu_seqlens.device)

    @classmethod
    def from_lengths(cls, lengths: Iterable[int], device: torch.device | str | None = None) -> SequenceLayout:
        """The layout of sequences that follow each other with these lengths (each at least 1)."""
        host = tuple(int(length) for length in lengths)
        if min(host, default=1) < 1:
            msg = f"a sequence has at least one token, got lengths {host}"
            raise ValueError(msg)
        cu_seqlens = torch.from_numpy(np.cumsum((0, *host), dtype=np.int32))
        layout = cls(cu_seqlens, max(host, default=0), host, _positions(host))
        return layout if device is None else layout.to(device)

    @property
    def num_sequences(self) -> int:
        """N, a padding sequence included."""
        return len(self.lengths)

    @property
    def num_tokens(self) -> int:
        """T."""
        return sum(self.lengths)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> SequenceLayout:
        """The same layout with its tensors on another device."""
        return evolve(
            self,
            cu_seqlens=self.cu_seqlens.to(device, non_blocking=non_blocking),
            position_ids=self.position_ids.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> SequenceLayout:
        """The same layout in page-locked memory, for copies that do not block."""
        return evolve(self, cu_seqlens=self.cu_seqlens.pin_memory(), position_ids=self.position_ids.pin_memory())


@frozen(eq=False)
class Batch:
    """One micro-batch. Compared by identity."""

    input_ids: Tensor
    """(T,) int64: all sequences end to end."""
    layout: SequenceLayout
    fields: Mapping[str, Tensor] = field(factory=dict)
    """What the loss needs, by name: for ``mlm``, ``masked_positions`` (M,) and ``labels`` (M,)."""
    padding: int = 0
    """Tokens of the padding sequence at the end; 0 where there is none. No loss sees them."""

    @property
    def num_sequences(self) -> int:
        """Sequences with content: the padding sequence is not counted."""
        return self.layout.num_sequences - (1 if self.padding else 0)

    @property
    def num_tokens(self) -> int:
        """Tokens with content."""
        return self.layout.num_tokens - self.padding

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on another device."""
        return evolve(
            self,
            input_ids=self.input_ids.to(device, non_blocking=non_blocking),
            layout=self.layout.to(device, non_blocking=non_blocking),
            fields={name: value.to(device, non_blocking=non_blocking) for name, value in self.fields.items()},
        )

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for copies that do not block."""
        return evolve(
            self,
            input_ids=self.input_ids.pin_memory(),
            layout=self.layout.pin_memory(),
            fields={name: value.pin_memory() for name, value in self.fields.items()},
        )


def pad_batch(batch: Batch, num_tokens: int, pad_token_id: int) -> Batch:
    """The batch with a padding sequence at its end, so that the stream has ``num_tokens`` tokens."""
    short = num_tokens - batch.layout.num_tokens
    if short < 0 or batch.padding:
        msg = f"cannot pad {batch.layout.num_tokens} tokens ({batch.padding} of them padding) to {num_tokens}"
        raise ValueError(msg)
    if short == 0:
        return batch
    pad_ids = batch.input_ids.new_full((short,), pad_token_id)
    layout = SequenceLayout.from_lengths((*batch.layout.lengths, short))
    return evolve(batch, input_ids=torch.cat((batch.input_ids, pad_ids)), layout=layout, padding=short)


def _positions(lengths: tuple[int, ...]) -> Tensor:
    """(T,) int64 on the host. In numpy: torch would start its threads for so little work."""
    ends = np.cumsum(lengths, dtype=np.int64)
    return torch.from_numpy(np.arange(sum(lengths)) - np.repeat(ends - np.asarray(lengths, dtype=np.int64), lengths))
