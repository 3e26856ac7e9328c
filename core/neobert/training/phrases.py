"""Masked held-out phrases with the model's top guesses: a look at what was learned."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from attrs import frozen

from neobert.batch import SequenceLayout
from neobert.modes import evaluation_mode
from neobert.seeding import derive_seed
from neobert.training.assemble import Parts

PHRASE_TOKENS = 20
"""Tokens shown of a phrase; the model sees the whole sequence around them."""
TRIES = 200


@frozen
class Phrase:
    """A piece of held-out text with one word masked."""

    before: str
    word: str
    after: str
    guesses: tuple[tuple[str, float], ...]
    """The likeliest tokens and their probabilities."""


def masked_phrases(parts: Parts, seed: int, count: int = 5, top: int = 5) -> list[Phrase]:
    """Phrases drawn by the seed alone from held-out sequences, each with one whole word masked."""
    if parts.evaluation_data is None or not hasattr(parts.own_objective.loss, "logits"):
        return []
    if parts.tokenizer.mask_token_id is None:  # a loss may learn from all tokens
        return []
    rng = np.random.default_rng(derive_seed(seed, "phrases"))
    return [_guess(parts, ids, position, top) for ids, position in islice(_candidates(parts, rng), count)]


def _candidates(parts: Parts, rng: np.random.Generator) -> Iterator[tuple[list[int], int]]:
    """Held-out sequences, special tokens included, with the position of a whole word in each."""
    data, tokenizer = parts.evaluation_data, parts.tokenizer
    assert data is not None
    for index in rng.permutation(data.num_sequences)[:TRIES]:
        ids = data.sequence(int(index)).tolist()
        tokens = tokenizer.convert_ids_to_tokens(ids)
        half = PHRASE_TOKENS // 2
        places = [p for p in range(half, len(ids) - half) if _is_word_in_prose(tokens[p - half : p + half], half)]
        if places:
            yield ids, int(rng.choice(places))


def _is_word_in_prose(tokens: list[str], place: int) -> bool:
    """A whole word of at least four letters (WordPiece writes continuations ``##``) among tokens that are words too."""
    word, following = tokens[place : place + 2]
    words = sum(token.isalpha() for token in tokens)
    return word.isalpha() and len(word) >= 4 and not following.startswith("##") and words >= 0.8 * len(tokens)


def _guess(parts: Parts, ids: list[int], position: int, top: int) -> Phrase:
    tokenizer, objective = parts.tokenizer, parts.own_objective
    masked = torch.tensor(ids, device=parts.device)
    masked[position] = tokenizer.mask_token_id
    keep = torch.tensor([position], device=parts.device)
    with evaluation_mode(objective):
        hidden = objective.encoder(masked, SequenceLayout.from_lengths([len(ids)], parts.device), keep=keep)
        # Rows beyond the tokenizer's tokens only round the matrix up.
        logits = objective.loss.logits(objective.encoder, hidden)[0, : len(tokenizer)]
        probabilities, tokens = logits.softmax(-1).topk(min(top, len(logits)))
    start = max(position - PHRASE_TOKENS // 2, 0)
    return Phrase(
        before=_decode(tokenizer, ids[start:position]),
        word=_decode(tokenizer, [ids[position]]),
        after=_decode(tokenizer, ids[position + 1 : position + PHRASE_TOKENS // 2]),
        guesses=tuple(
            (tokenizer.decode([token]), probability)
            for token, probability in zip(tokens.tolist(), probabilities.tolist(), strict=True)
        ),
    )


def _decode(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=True)
    return text
