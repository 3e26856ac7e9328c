"""What a model guesses for each mask of a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from attrs import frozen

from neobert.batch import SequenceLayout
from neobert.embedding.texts import token_ids
from neobert.errors import UserError
from neobert.evaluation.masked import MaskedModel
from neobert.wording import counted

WRITTEN = ("[MASK]", "<mask>")
"""Ways to write a mask that stand for the tokenizer's own, whatever that is."""


@frozen
class Guess:
    """One token for a mask."""

    token: str
    token_id: int
    probability: float
    """Of all rows of the vocabulary."""


@frozen
class Filled:
    """A text with the guesses of its masks, in their order, the likeliest first."""

    text: str
    masks: tuple[tuple[Guess, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """As ``--output`` has it."""
        guesses = [
            [{"token": one.token, "token_id": one.token_id, "probability": one.probability} for one in mask]
            for mask in self.masks
        ]
        return {"text": self.text, "masks": guesses}


def fill_masks(model: MaskedModel, texts: Sequence[str], top: int) -> list[Filled]:
    """All masks of a text are guessed at once, none seeing another's guess, as transformers' pipeline has it.

    Raises UserError for every text without a mask, or with more tokens than the model takes.
    """
    own = str(model.tokenizer.mask_token)
    written = [_with_own_mask(text, own) for text in texts]
    sequences = token_ids(model.tokenizer, written, _UNCUT)
    mask_id = int(model.tokenizer.mask_token_id)
    faults = [
        fault
        for text, ids in zip(texts, sequences, strict=True)
        if (fault := _fault(text, own, len(ids), model.max_seq_length, masked=mask_id in ids))
    ]
    if faults:
        raise UserError("\n".join(faults))
    return [_filled(model, text, torch.from_numpy(ids), top) for text, ids in zip(texts, sequences, strict=True)]


_UNCUT = 1 << 40


def _with_own_mask(text: str, own: str) -> str:
    for written in WRITTEN:
        if written != own:
            text = text.replace(written, own)
    return text


def _fault(text: str, own: str, length: int, longest: int, *, masked: bool) -> str | None:
    if not masked:
        ways = " or ".join(dict.fromkeys((own, *WRITTEN)))
        return f"{text!r} has no mask: write {ways} where a word is to be guessed, such as 'the {own} of the list'"
    if length > longest:
        return f"{text[:60]!r}... has {counted(length, 'token')}, and the model takes {longest:,}: shorten it"
    return None


def _filled(model: MaskedModel, text: str, ids: torch.Tensor, top: int) -> Filled:
    places = (ids == int(model.tokenizer.mask_token_id)).nonzero()[:, 0]
    logits = model.logits(ids, SequenceLayout.from_lengths([len(ids)]), places)
    probabilities = logits.softmax(-1)
    # Rows beyond the tokenizer's tokens only round the matrix up.
    known = probabilities[:, : _rows(model.tokenizer)]
    values, tokens = known.topk(min(top, known.shape[1]))
    masks = [
        tuple(Guess(model.tokenizer.decode([token]), token, value) for value, token in zip(row, found, strict=True))
        for row, found in zip(values.tolist(), tokens.tolist(), strict=True)
    ]
    return Filled(text, tuple(masks))


def _rows(tokenizer: Any) -> int:
    return 1 + int(max(tokenizer.get_vocab().values()))
