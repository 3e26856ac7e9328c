"""The vocabulary head of masked language models.

Shapes: M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from neobert.interfaces import Encoder


class MaskedLMHead(nn.Module):
    """hidden -> logits, by the encoder's embedding or by a matrix of its own, with or without a bias.

    The encoder says which by attributes, with defaults where it lacks them: ``tie_word_embeddings`` (True),
    ``decoder_bias`` (False), ``decoder_init_range`` (0.02: an untied matrix starts uniform within it).
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        # In a tuple, so that it is not registered: the encoder is no part of the loss.
        self._encoder = (encoder,)
        like = encoder.input_embedding.weight
        tied = getattr(encoder, "tie_word_embeddings", True)
        biased = getattr(encoder, "decoder_bias", False)
        self.weight = None if tied else nn.Parameter(torch.empty_like(like))
        self.bias = nn.Parameter(like.new_zeros(encoder.vocab_size)) if biased else None
        if self.weight is not None:
            reach = getattr(encoder, "decoder_init_range", 0.02)
            nn.init.uniform_(self.weight, -reach, reach)

    def matrix(self, encoder: Encoder) -> Tensor:
        """(V, C): its own, or the embedding of the encoder that it is called with."""
        return encoder.input_embedding.weight if self.weight is None else self.weight

    def forward(self, encoder: Encoder, hidden: Tensor) -> Tensor:
        """hidden (M, C) -> logits (M, V)."""
        return F.linear(hidden, self.matrix(encoder), self.bias)

    def state(self) -> dict[str, Tensor]:
        """``weight`` (V, C), tied or not, and ``bias`` (V,) where there is one: the parameters themselves."""
        state: dict[str, Tensor] = {"weight": self.matrix(self._encoder[0])}
        if self.bias is not None:
            state["bias"] = self.bias
        return state


class WithHead(nn.Module):
    """What every loss with this head has beside its ``forward``."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.decoder = MaskedLMHead(encoder)

    def logits(self, encoder: Encoder, hidden: Tensor) -> Tensor:
        """hidden (M, C) -> (M, V)."""
        logits: Tensor = self.decoder(encoder, hidden)
        return logits

    def head_state(self) -> dict[str, Tensor]:
        """``weight`` (V, C), and ``bias`` (V,) where there is one: the parameters themselves."""
        return self.decoder.state()
