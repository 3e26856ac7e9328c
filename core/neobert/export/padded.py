"""The encoder as a module of padded input: what ONNX files and their users have.

The encoder itself is called, on a stream in which every row has the length of the longest: only attention has to know
which tokens are padding, and a backend that does takes the place of the recipe's. So whatever model computes on the
token stream has an ONNX file, one that no other library's architecture expresses too.

Shapes: B rows, L tokens of each, padding included, T = B L, H heads, D head dim, C hidden size, E embedding size, V
vocabulary.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from attrs import field, frozen
from torch import Tensor, nn
from torch.nn import functional as F

from neobert.batch import SequenceLayout
from neobert.capabilities import Capabilities
from neobert.context import BuildContext
from neobert.interfaces import PredictionHead, SentenceHead
from neobert.parts import Part


@frozen(eq=False)
class PaddedLayout(SequenceLayout):
    """B sequences of L tokens each, and which of those are none."""

    mask: Tensor = field(kw_only=True)
    """(B, L), true where there is a token."""

    @classmethod
    def of(cls, mask: Tensor) -> PaddedLayout:
        """Positions count tokens alone, on whichever side the padding is. ``lengths``, which only the host could know,
        are left out."""
        rows, length = mask.shape
        bounds = torch.arange(rows + 1, dtype=torch.int32, device=mask.device) * length
        places = (mask.long().cumsum(1) - 1).clamp(min=0).flatten()
        return cls(bounds, length, (), places, mask=mask)


def attend_padded(
    q: Tensor, k: Tensor, v: Tensor, layout: Any, *, scale: float, window: int | None = None, dropout_p: float = 0.0
) -> Tensor:
    """q, k, v (T, H, D) of a `PaddedLayout` -> (T, H, D); no token sees padding."""
    rows, length = layout.mask.shape
    q_BHLD, k_BHLD, v_BHLD = (x.view(rows, length, *x.shape[1:]).transpose(1, 2) for x in (q, k, v))
    seen = layout.mask[:, None, None, :]
    if window is not None:
        places = layout.position_ids.view(rows, length)
        seen = seen & ((places[:, None, :, None] - places[:, None, None, :]).abs() <= window)
    scores_BHLL = q_BHLD @ k_BHLD.transpose(-1, -2) * scale
    # Not infinity: a row of padding alone would be all NaN.
    shares_BHLL = scores_BHLL.masked_fill(~seen, torch.finfo(scores_BHLL.dtype).min).softmax(-1)
    seen_BLHD: Tensor = (shares_BHLL @ v_BHLD).transpose(1, 2)
    return seen_BLHD.flatten(0, 1)


@frozen
class _PaddedAttention:
    capabilities: ClassVar[Capabilities] = Capabilities(window=True, compilable=True)

    def build(self, context: BuildContext) -> Any:
        return attend_padded


BACKEND = Part(kind="attn_backend", name="padded", options=_PaddedAttention())


class PaddedModel(nn.Module):
    """input_ids (B, L), attention_mask (B, L) int64 -> what ``outputs`` names, in that order.

    ``last_hidden_state`` (B, L, C), ``sentence_embedding`` (B, E) by ``head``, ``logits`` (B, L, V) of ``loss``, or
    (B, K) by ``prediction``. The encoder was built with `BACKEND`.
    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        encoder: Any,
        outputs: tuple[str, ...],
        head: SentenceHead | None,
        loss: Any,
        prediction: PredictionHead | None = None,
    ) -> None:
        super().__init__()
        self.predict = None if prediction is None else PaddedPrediction(prediction)
        self.encoder, self.loss = encoder, loss
        self.outputs, self.head = outputs, head
        weight, bias = (None, None) if head is None or head.projection is None else head.projection
        for name, tensor in (("weight", weight), ("bias", bias)):
            self.register_buffer(name, None if tensor is None else tensor.detach().float())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        mask = attention_mask.bool()
        hidden_TC = self.encoder(input_ids.flatten(), PaddedLayout.of(mask))
        found = {"last_hidden_state": hidden_TC.unflatten(0, mask.shape)}
        if self.predict is not None:
            found["logits"] = self.predict(found["last_hidden_state"], mask)
        elif "logits" in self.outputs:
            found["logits"] = self.loss.logits(self.encoder, hidden_TC).unflatten(0, mask.shape)
        if self.head is not None:
            pooled = pool_padded(found["last_hidden_state"], mask, self.head.pooling)
            projected = pooled if self.weight is None else F.linear(pooled, self.weight, self.bias)
            found["sentence_embedding"] = F.normalize(projected, dim=-1) if self.head.normalize else projected
        return tuple(found[name] for name in self.outputs)


class PaddedPrediction(nn.Module):
    """hidden (B, L, C), mask (B, L) -> (B, K): what `neobert.prediction.head` makes of the same tokens."""

    def __init__(self, head: PredictionHead) -> None:
        super().__init__()
        self.pooling = head.pooling
        for name, tensor in (
            ("w1", head.dense[0]),
            ("b1", head.dense[1]),
            ("w2", head.output[0]),
            ("b2", head.output[1]),
        ):
            self.register_buffer(name, tensor.detach().float())

    def forward(self, hidden_BLC: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "late":
            return pool_padded(self._through(hidden_BLC), mask, "mean")
        return self._through(pool_padded(hidden_BLC, mask, self.pooling))

    def _through(self, vectors: Tensor) -> Tensor:
        w1, b1, w2, b2 = (self.get_buffer(name) for name in ("w1", "b1", "w2", "b2"))
        return F.linear(F.gelu(F.linear(vectors, w1, b1)), w2, b2)


def pool_padded(hidden_BLC: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """hidden (B, L, C), mask (B, L) -> (B, C): what `neobert.contrast.pooling.pool_hidden` makes of the same tokens."""
    counts_BL = mask.long().cumsum(1)
    if pooling in ("cls", "last"):
        wanted = counts_BL[:, -1:] if pooling == "last" else 1
        # The first place with so many tokens up to it.
        place_B1 = (counts_BL < wanted).long().sum(1, keepdim=True)
        return hidden_BLC.gather(1, place_B1.unsqueeze(-1).expand(-1, -1, hidden_BLC.shape[-1])).squeeze(1)
    if pooling == "max":
        return hidden_BLC.masked_fill(~mask.unsqueeze(-1), torch.finfo(hidden_BLC.dtype).min).amax(1)
    weights_BL = mask.to(hidden_BLC.dtype)
    if pooling == "weighted_mean":
        weights_BL = weights_BL * counts_BL
    elif pooling != "mean":
        msg = f"no pooling is called {pooling!r}"
        raise ValueError(msg)
    return (hidden_BLC * weights_BL.unsqueeze(-1)).sum(1) / weights_BL.sum(1, keepdim=True)
