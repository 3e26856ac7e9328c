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
from neobert.embedding.texts import Embed, embed_sequences, token_ids
from neobert.evaluation import padding
from neobert.export.prompts import Prompts

TextKind = Literal["query", "document", "text"]
"""What a text is to a task: that which is looked for, that which is found, or neither."""
Similarity = Literal["cosine", "dot"]


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
    compute: Embed
    prompts: Prompts
    max_seq_length: int
    device: torch.device
    similarity: Similarity = "cosine"

    def embed(self, texts: Sequence[str], kind: TextKind) -> Tensor:
        """(N, E)."""
        sequences = token_ids(self.tokenizer, texts, self.max_seq_length, self.prompts.of(kind))
        with torch.no_grad():
            return embed_sequences(self.compute, sequences, self.device)


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
