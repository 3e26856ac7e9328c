"""What is evaluated: something that makes embeddings of texts.

Shapes: N texts, T tokens in the stream, C hidden size, E embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import torch
from attrs import frozen
from torch import Tensor

from neobert.batch import SequenceLayout
from neobert.embedding.head import apply_head
from neobert.embedding.texts import Embed, embed_sequences, token_ids
from neobert.evaluation import padding
from neobert.export.prompts import Prompts
from neobert.interfaces import SentenceHead

TextKind = Literal["query", "document", "text"]
"""What a text is to a task: that which is looked for, that which is found, or neither."""
Similarity = Literal["cosine", "dot"]
PLAIN = SentenceHead(pooling="mean", normalize=True)
"""Of a model that makes no embeddings of its own."""


class TextModel(Protocol):
    """Makes embeddings of texts."""

    @property
    def description(self) -> str:
        """What it is and how it was opened, in a line."""
        ...

    @property
    def similarity(self) -> Similarity:
        """What its embeddings are compared by."""
        ...

    def embed(self, texts: Sequence[str], kind: TextKind) -> Tensor:
        """(N, E) float32; kinds differ in the prompt that is put before."""
        ...


@frozen(eq=False, kw_only=True)
class StreamModel:
    """Tokenized as in training, and embedded as one token stream a batch."""

    description: str
    tokenizer: Any
    module: Any
    """What computes hidden states: an `Encoder`, or a model of transformers."""
    hidden: Embed
    """The same as a function: input_ids (T,), layout -> (T, C)."""
    head: SentenceHead
    """What makes embeddings of hidden states."""
    own: Embed | None = None
    """A loss's own way to embeddings, which ``head`` describes."""
    says_head: bool = True
    """Whether ``head`` is the model's own; else it is `PLAIN`, for want of one."""
    prompts: Prompts
    max_seq_length: int
    device: torch.device
    similarity: Similarity = "cosine"

    def embed(self, texts: Sequence[str], kind: TextKind) -> Tensor:
        """(N, E)."""
        sequences = token_ids(self.tokenizer, texts, self.max_seq_length, self.prompts.of(kind))
        with torch.no_grad():
            return embed_sequences(self.own or self.headed(self.head), sequences, self.device)

    def headed(self, head: SentenceHead) -> Embed:
        """Embeddings of the hidden states by this head: input_ids (T,), layout -> (N, E)."""
        return lambda ids, layout: apply_head(self.hidden(ids, layout), layout, head)


@frozen(eq=False)
class LibraryModel:
    """A ``SentenceTransformer``, which does all by itself."""

    description: str
    model: Any
    similarity: Similarity = "cosine"

    def embed(self, texts: Sequence[str], kind: TextKind) -> Tensor:
        """(N, E)."""
        encode = {"query": self.model.encode_query, "document": self.model.encode_document, "text": self.model.encode}
        found: Tensor = encode[kind](list(texts), convert_to_tensor=True, show_progress_bar=False)
        return found.float()


def padded(model: Any) -> Embed:
    """A transformers model as one that takes token streams: input_ids (T,), layout -> hidden (T, C)."""

    def hidden(input_ids: Tensor, layout: SequenceLayout) -> Tensor:
        ids, mask = padding.padded(input_ids, layout.lengths)
        found: Tensor = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return found[mask]

    return hidden
