"""Pseudo-log-likelihood (Salazar et al. 2020, arXiv:1910.14659): each token masked in turn, guessed from all others.

Copies of a text, each with another token masked, stand in one token stream, and only the masked positions are
projected onto the vocabulary.

Shapes: T tokens in the stream, M masked positions: one a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.batch import SequenceLayout
from neobert.data.sequences import SpecialTokens
from neobert.errors import UserError
from neobert.evaluation.masked import MaskedModel
from neobert.seeding import derive_seed

STREAM_TOKENS = 16384
"""Tokens of a stream, unless told otherwise."""
Ids = NDArray[np.int64]


@frozen(eq=False)
class Window:
    """A text, or a window of one, as the model sees it."""

    text: int
    ids: Ids
    """(n,) with special tokens around."""
    places: Ids
    """Where the tokens are that are scored."""


@frozen(eq=False, kw_only=True)
class Windows:
    """All texts as sequences that fit into the model."""

    sequences: Sequence[Window]
    per_text: Sequence[int]
    """Windows of each text; 1 of one that fits."""
    special: int
    """Tokens inside texts that are special, unknown ones among them: they are seen, and not scored."""

    @property
    def tokens(self) -> int:
        """That can be scored."""
        return sum(len(sequence.places) for sequence in self.sequences)


def windows_of(texts: Sequence[str], tokenizer: Any, max_seq_length: int) -> Windows:
    """Each text's tokens; one with more than fit is cut into windows that follow each other, none shared.

    Raises UserError where the model's length leaves a text no room.
    """
    special = SpecialTokens.of(tokenizer)
    body = max_seq_length - special.count
    if body < 1:
        msg = f"the model's sequences have {max_seq_length} tokens, all of which are special ones"
        raise UserError(msg)
    encoded = tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]
    hidden = np.array(sorted(tokenizer.all_special_ids), dtype=np.int64)
    sequences, per_text, unscored = [], [], 0
    for text, ids in enumerate(encoded):
        starts = range(0, len(ids), body)
        for start in starts:
            part = np.asarray(ids[start : start + body], dtype=np.int64)
            scored = np.flatnonzero(~np.isin(part, hidden))
            unscored += len(part) - len(scored)
            sequences.append(Window(text, special.around(part), scored + len(special.prefix)))
        per_text.append(len(starts))
    return Windows(sequences=sequences, per_text=per_text, special=unscored)


def sampled(windows: Windows, count: int, seed: int = 0) -> list[Window]:
    """The sequences with ``count`` of all tokens to score, drawn by the seed alone, without one twice."""
    rng = np.random.default_rng(derive_seed(seed, "pseudo_perplexity"))
    chosen = np.sort(rng.permutation(windows.tokens)[:count])
    ends = np.cumsum([len(sequence.places) for sequence in windows.sequences])
    begins = ends - [len(sequence.places) for sequence in windows.sequences]
    parts = zip(windows.sequences, begins, np.searchsorted(chosen, begins), np.searchsorted(chosen, ends), strict=True)
    return [Window(one.text, one.ids, one.places[chosen[low:high] - begin]) for one, begin, low, high in parts]


@frozen(eq=False)
class Scores:
    """What the texts' tokens came to."""

    log_likelihood: NDArray[np.float64]
    """(texts,) nats, summed over a text's scored tokens."""
    tokens: Ids
    """(texts,) scored."""
    streams: int
    """How often the model ran."""


def score(model: MaskedModel, sequences: Sequence[Window], texts: int, stream_tokens: int = STREAM_TOKENS) -> Scores:
    """The log-probability of every scored token, given all others of its sequence.

    A stream has ``stream_tokens`` tokens at most; one copy of a longer sequence is a stream of its own. How they are
    cut into streams changes nothing. Raises UserError where a number is none.
    """
    likelihood, tokens, streams = np.zeros(texts), np.zeros(texts, dtype=np.int64), 0
    for stream in _streams(sequences, stream_tokens):
        found = stream.run(model)
        if not np.isfinite(found).all():
            msg = "the model gives a token a probability that is no number: it is broken, and no figure means anything"
            raise UserError(msg)
        np.add.at(likelihood, stream.texts, found)
        np.add.at(tokens, stream.texts, 1)
        streams += 1
    return Scores(likelihood, tokens, streams)


@frozen(eq=False)
class _Stream:
    copies: list[Ids] = field(factory=list)
    places: list[int] = field(factory=list)
    """Of each copy, its masked position in it."""
    texts: list[int] = field(factory=list)

    def run(self, model: MaskedModel) -> NDArray[np.float64]:
        """(M,) log-probabilities of what is under the masks."""
        lengths = [len(copy) for copy in self.copies]
        ids = torch.from_numpy(np.concatenate(self.copies))
        masked = torch.from_numpy(np.cumsum([0, *lengths[:-1]]) + np.asarray(self.places))
        labels = ids[masked]
        ids[masked] = int(model.tokenizer.mask_token_id)
        logits = model.logits(ids, SequenceLayout.from_lengths(lengths), masked)
        picked = logits.log_softmax(-1).gather(1, labels.to(logits.device).unsqueeze(1))[:, 0]
        found: NDArray[np.float64] = picked.double().cpu().numpy()
        return found


def _streams(sequences: Sequence[Window], most: int) -> Iterator[_Stream]:
    """Copies by length, so that a stream holds those that are alike."""
    stream, held = _Stream(), 0
    for sequence in sorted(sequences, key=lambda window: len(window.ids)):
        for place in sequence.places.tolist():
            if stream.copies and held + len(sequence.ids) > most:
                yield stream
                stream, held = _Stream(), 0
            stream.copies.append(sequence.ids)
            stream.places.append(place)
            stream.texts.append(sequence.text)
            held += len(sequence.ids)
    if stream.copies:
        yield stream
