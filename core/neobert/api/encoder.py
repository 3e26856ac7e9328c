"""Texts to embeddings with a model that a run has left.

Shapes: N texts, E embedding size.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from attrs import frozen

from neobert.embedding.texts import BATCH_TOKENS, Embed, cut_token_ids, embed_sequences
from neobert.errors import UserError
from neobert.interfaces import SentenceHead
from neobert.wording import counted, did_you_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from neobert.evaluation.model import StreamModel

logger = logging.getLogger("neobert")

AT_ONCE = 1 << 15
"""Texts that are held as token ids at once."""


@frozen(eq=False, kw_only=True)
class TextEncoder:
    """Makes embeddings of texts, all on the token stream: nothing is padded. `neobert.load` returns one."""

    model: StreamModel

    @property
    def module(self) -> Any:
        """The ``torch.nn.Module`` itself, in evaluation mode: an `Encoder` (docs/plugins.md), or, of a folder that is
        no run's, a model of transformers."""
        return self.model.module

    @property
    def pooling(self) -> str:
        """``mean``, ``cls``, ``max``, ``last`` or ``weighted_mean``."""
        return self.model.head.pooling

    @property
    def normalizes(self) -> bool:
        """Whether embeddings have length 1 unless told otherwise."""
        return self.model.head.normalize

    @property
    def prompts(self) -> dict[str, str]:
        """What was put before texts in training, by name."""
        return dict(self.model.prompts.by_name)

    @property
    def max_seq_length(self) -> int:
        """Tokens of a text, special ones included; what is longer is cut."""
        return self.model.max_seq_length

    def encode(
        self,
        texts: str | Sequence[str],
        *,
        kind: Literal["text", "query", "document"] = "text",
        prompt_name: str | None = None,
        prompt: str | None = None,
        normalize: bool | None = None,
        batch_tokens: int = BATCH_TOKENS,
    ) -> NDArray[np.float32]:
        """(N, E) float32, in the order of ``texts``; of a single text (E,).

        Before each text stands the prompt for its ``kind``, as in training; ``prompt_name`` names another of
        `prompts`, ``prompt`` is one outright (``""``: none). ``normalize`` overrules the model's own. ``batch_tokens``
        bounds a batch, and so the memory; a text longer than that is a batch alone. Texts that are cut are counted in a
        warning of the logger ``neobert``. Raises UserError for an unknown prompt, and for a text without any token.
        """
        before, embed = self._prompt(kind, prompt_name, prompt), self._embed(normalize)
        many = [texts] if isinstance(texts, str) else list(texts)
        _refuse_others(many, batch_tokens)
        found = list(self._parts(many, before, embed, batch_tokens))
        if not found:
            # What one text gives tells the width.
            return self.encode(["a"], normalize=normalize)[:0]
        embeddings: NDArray[np.float32] = np.concatenate(found)
        return embeddings[0] if isinstance(texts, str) else embeddings

    def _parts(self, texts: list[str], prompt: str, embed: Embed, batch_tokens: int) -> Iterator[NDArray[np.float32]]:
        model, cut = self.model, 0
        for start in range(0, len(texts), AT_ONCE):
            some = texts[start : start + AT_ONCE]
            sequences, more = cut_token_ids(model.tokenizer, some, model.max_seq_length, prompt)
            cut += more
            empty = next((start + number for number, ids in enumerate(sequences) if not len(ids)), None)
            if empty is not None:
                msg = f"texts[{empty}] = {texts[empty]!r} has no token to make an embedding of: leave it out"
                raise UserError(msg)
            with torch.no_grad():
                yield embed_sequences(embed, sequences, model.device, batch_tokens).cpu().numpy()
        if cut:
            logger.warning("%s cut to %d tokens, the longest of this model", counted(cut, "text"), model.max_seq_length)

    def _embed(self, normalize: bool | None) -> Embed:
        model, head = self.model, self.model.head
        if normalize is None or normalize == head.normalize:
            return model.own or model.headed(head)
        return model.headed(SentenceHead(pooling=head.pooling, normalize=normalize, projection=head.projection))

    def _prompt(self, kind: str, name: str | None, prompt: str | None) -> str:
        known = self.model.prompts
        if prompt is not None and name is not None:
            msg = f"prompt = {prompt!r} and prompt_name = {name!r}: only one of them can be before a text"
            raise UserError(msg)
        if prompt is not None:
            return prompt
        if name is not None:
            if name not in known.by_name:
                names = ", ".join(map(repr, known.by_name)) or "none"
                msg = f"there is no prompt {name!r}{did_you_mean(name, known.by_name)}\nprompts of this model: {names}"
                raise UserError(msg)
            return known.by_name[name]
        if kind not in ("text", "query", "document"):
            msg = f"kind = {kind!r}: expected 'text', 'query' or 'document'; other prompts are named by prompt_name"
            raise UserError(msg)
        return known.of(kind)


def _refuse_others(texts: Sequence[object], batch_tokens: int) -> None:
    wrong = next(((number, text) for number, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        msg = f"texts[{wrong[0]}] is a {type(wrong[1]).__name__}, {wrong[1]!r}: expected a str"
        raise TypeError(msg)
    if batch_tokens < 1:
        msg = f"batch_tokens = {batch_tokens}: expected a positive number of tokens"
        raise UserError(msg)
