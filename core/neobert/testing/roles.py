"""What a collator of texts by role promises, and examples to try it with.

Shapes: B examples, N sequences, K negatives.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neobert.roles import PAIR
from neobert.testing.context import LENGTHS, make_sequences, per_sequence
from neobert.testing.promises import require, require_equal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from neobert.batch import Batch
    from neobert.roles import Roles

    Examples = Sequence[Mapping[str, Any]]

_WIDTH = 4
"""Numbers in a list, where nothing says how many there have to be."""
_EVEN = 2
"""Texts of a role of many, where all examples have as many."""
_FIELDS = {
    "query": ("query", "sentence"),
    "positive": ("positive", "sentence"),
    "text": ("text",),
    "first": ("sentence1",),
    "second": ("sentence2",),
}
"""Fields (B,) that name sequences, and the roles that these may be of."""
_VALUES = ("label", "score", "teacher_scores", "teacher_vector")
"""Fields that are a role's numbers."""


def role_examples(roles: Roles) -> list[list[dict[str, Any]]]:
    """Examples with the required roles alone, with all roles, and with uneven numbers of texts in roles of many."""
    bare = [_example(roles, number, roles.required, _EVEN) for number in range(len(LENGTHS))]
    full = [_example(roles, number, roles.names, _EVEN) for number in range(len(LENGTHS))]
    texts = [name for name in roles.names if name in roles.required or name not in roles.values]
    uneven = [_example(roles, number, texts, number % 3) for number in range(len(LENGTHS))]
    return [bare, full, uneven]


def check_roles(batch: Batch, examples: Examples, roles: Roles) -> None:
    """A batch holds the examples' texts, and its fields say which is whose."""
    sequences = per_sequence(batch.input_ids, batch.layout.lengths)
    given = sum(len(text) for example in examples for text in _texts(example, roles))
    promise = "a batch has each text as often as roles.copies says, and no more: a packed micro-batch has no room"
    require(
        batch.layout.num_tokens <= roles.copies * given,
        promise,
        given=f"{given} tokens, copies = {roles.copies}",
        found=batch.layout.num_tokens,
    )
    for name, among in _FIELDS.items():
        role = PAIR if name == "text" and roles.joined else next((role for role in among if role in roles.names), None)
        if name in batch.fields and role is not None and role in examples[0]:
            _check_places(batch, sequences, name, [example[role] for example in examples])
    if "negative" in batch.fields:
        _check_negatives(batch, sequences, examples)
    for name in _VALUES:
        if name in batch.fields and name in examples[0]:
            expected = torch.as_tensor(np.stack([np.asarray(example[name]) for example in examples]))
            kind = torch.int64 if name == "label" else torch.float32
            require_equal(batch.fields[name], expected.to(kind), f"field {name} has the examples' numbers, as {kind}")
    if "text_key" in batch.fields:
        _check_keys(batch.fields["text_key"], sequences)


def _check_places(batch: Batch, sequences: Sequence[torch.Tensor], name: str, texts: Sequence[Any]) -> None:
    field = batch.fields[name]
    promise = f"field {name} is (B,) int64: which sequence of the layout is each example's"
    right = field.dtype == torch.int64 and tuple(field.shape) == (len(texts),)
    require(right and bool(((field >= 0) & (field < len(sequences))).all()), promise, found=field)
    for place, text in zip(field.tolist(), texts, strict=True):
        require_equal(sequences[place], torch.as_tensor(text), f"{promise}: with all its tokens", given=place)


def _check_negatives(batch: Batch, sequences: Sequence[torch.Tensor], examples: Examples) -> None:
    owners = batch.fields.get("negative_of")
    require(owners is not None, "field negative comes with negative_of", found=sorted(batch.fields))
    assert owners is not None
    counts = [len(example.get("negatives", ())) for example in examples]
    expected = torch.from_numpy(np.repeat(np.arange(len(examples)), counts))
    require_equal(owners, expected, "field negative_of (K,) says which example each negative is of, example by example")
    texts = list(chain.from_iterable(example.get("negatives", ()) for example in examples))
    _check_places(batch, sequences, "negative", texts)


def _check_keys(keys: torch.Tensor, sequences: Sequence[torch.Tensor]) -> None:
    promise = "field text_key is (N,) int64, the same for sequences of the same tokens and for no others"
    require(keys.dtype == torch.int64 and tuple(keys.shape) == (len(sequences),), promise, found=keys)
    known: dict[tuple[int, ...], int] = {}
    for key, sequence in zip(keys.tolist(), sequences, strict=True):
        require(known.setdefault(tuple(sequence.tolist()), key) == key, promise, given=sequence, found=key)
    require(len(set(known.values())) == len(known), promise, found=keys)


def _example(roles: Roles, number: int, names: Sequence[str], several: int) -> dict[str, Any]:
    """Example ``number``; a text of one role differs from those of others."""
    found: dict[str, Any] = {}
    for place, name in enumerate(names):
        holds = roles.holding(name)
        if holds == "text":
            found[name] = _text(number, place)
        elif holds == "texts":
            found[name] = tuple(_text(number, 100 + 10 * place + one) for one in range(several))
        elif holds == "int":
            found[name] = number % 2
        elif holds == "float":
            found[name] = number / len(LENGTHS)
        else:
            width = 1 + several if name == "teacher_scores" else _WIDTH
            found[name] = np.arange(number, number + width, dtype=np.float32)
    if roles.joined:
        found[PAIR] = np.concatenate([found.pop(name) for name in roles.joined])
    return found


def _text(number: int, seed: int) -> NDArray[np.int64]:
    ids: NDArray[np.int64] = make_sequences(LENGTHS, seed=seed)[number].numpy()
    return ids


def _texts(example: Mapping[str, Any], roles: Roles) -> list[Any]:
    return [example[name] for name in (*roles.texts, PAIR) if name in example] + [
        text for name in roles.lists for text in example.get(name, ())
    ]
