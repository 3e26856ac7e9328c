"""A micro-batch as people read it: every sequence's text, with what was masked and what stands in its place."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from attrs import frozen

from neobert.data.show_roles import KNOWN, Heading, headings, roles_line
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from neobert.batch import Batch

Style = Literal["text", "special", "masked", "replaced", "kept", "padding", "source", "role"]
"""``masked``: the mask token stands there; ``replaced``: another token does; ``kept``: the model is asked for a token
that it sees."""


@frozen
class Span:
    """A stretch of one style."""

    text: str
    style: Style


@frozen(eq=False)
class Shown:
    """A micro-batch, line by line."""

    summary: tuple[str, ...]
    """Sizes, a fact each."""
    sequences: tuple[tuple[Span, ...], ...]
    """The words of each sequence, or example by example; the padding sequence is the last, where there is one."""


def show(batch: Batch, tokenizer: Any, sources: Sequence[str] = ()) -> Shown:
    """Works for any collator: fields that are no masks and no roles are named with their shapes.

    ``sources``: of a mixture, each document's; shown where the collator made one sequence of each, or says which
    example a sequence is of.
    """
    ids = batch.input_ids.numpy()
    labels = _labels(batch)
    ends = np.cumsum(batch.layout.lengths)
    sequences: list[tuple[Span, ...]] = []
    named = [(Span(f"({printable(name)})", "source"),) for name in sources]
    roles = headings(batch.fields, batch.num_sequences)
    for number, heading in _titles(batch, named, roles):
        here = slice(int(ends[number]) - batch.layout.lengths[number], int(ends[number]))
        sequences.append((*heading, *_spans(ids[here], labels[here], tokenizer)))
    if batch.padding:
        sequences.append((Span(f"({counted(batch.padding, 'token')} of padding)", "padding"),))
    facts = [roles_line(roles)] if roles else []
    hidden = KNOWN if roles else set()
    return Shown((_sizes(batch), *facts, *_fields(batch, labels, tokenizer, hidden)), tuple(sequences))


def _titles(
    batch: Batch, named: Sequence[tuple[Span, ...]], roles: Sequence[Heading]
) -> Iterator[tuple[int, tuple[Span, ...]]]:
    """Each sequence in the order in which they are shown, with what stands before it."""
    if not roles:
        bare = len(named) != batch.num_sequences
        yield from ((number, () if bare else named[number]) for number in range(batch.num_sequences))
        return
    of_example = len(named) == len({heading.example for heading in roles})
    for heading in roles:
        source = named[heading.example] if of_example else ()
        yield heading.sequence, (*source, Span(f"{heading.text}:", "role"))


def _labels(batch: Batch) -> Any:
    """(T,) the token asked for at each position, -1 where none is."""
    labels = np.full(batch.layout.num_tokens, -1, dtype=np.int64)
    if {"masked_positions", "labels"} <= set(batch.fields):
        labels[batch.fields["masked_positions"].numpy()] = batch.fields["labels"].numpy()
    return labels


def _spans(ids: Any, labels: Any, tokenizer: Any) -> Iterator[Span]:
    special = set(tokenizer.all_special_ids)

    def style(place: int) -> Style:
        if labels[place] >= 0:
            if ids[place] == tokenizer.mask_token_id:
                return "masked"
            return "kept" if ids[place] == labels[place] else "replaced"
        return "special" if ids[place] in special else "text"

    for kind, places in groupby(range(len(ids)), style):
        here = list(places)
        if kind == "text":
            yield Span(_decode(tokenizer, ids[here]), kind)
            continue
        for place in here:
            if kind == "special":
                yield Span(str(tokenizer.convert_ids_to_tokens(int(ids[place]))), kind)
            else:
                yield Span(f"[{_token(tokenizer, ids[place])}→{_token(tokenizer, labels[place])}]", kind)


def _sizes(batch: Batch) -> str:
    total, content = batch.layout.num_tokens, batch.num_tokens
    lengths = sorted(batch.layout.lengths[: batch.num_sequences])
    middle = lengths[len(lengths) // 2]
    return (
        f"{counted(batch.num_sequences, 'sequence')} of {lengths[0]:,} to {lengths[-1]:,} tokens (median {middle:,}), "
        f"{counted(content, 'token')} in all, {batch.padding:,} of padding, fill {content / total:.2%}"
    )


def _fields(batch: Batch, labels: Any, tokenizer: Any, hidden: set[str]) -> Iterator[str]:
    """What there is for the loss."""
    asked = labels >= 0
    if asked.any():
        ids = batch.input_ids.numpy()[asked]
        masked = int((ids == tokenizer.mask_token_id).sum())
        kept = int((ids == labels[asked]).sum())
        count = len(ids)
        yield (
            f"{counted(count, 'token')} asked for ({count / batch.num_tokens:.2%}): {masked / count:.1%} masked, "
            f"{(count - masked - kept) / count:.1%} replaced, {kept / count:.1%} kept"
        )
    for name, value in batch.fields.items():
        if name not in hidden and not (asked.any() and name in ("masked_positions", "labels")):
            shape = " x ".join(map(str, value.shape)) or "one value"
            yield f"field {name}: {shape}, {str(value.dtype).removeprefix('torch.')}"


def _token(tokenizer: Any, token: int) -> str:
    """A token's own text; a special one's name without its brackets."""
    if token in tokenizer.all_special_ids:
        return str(tokenizer.convert_ids_to_tokens(int(token))).strip("[]<>|")
    return _decode(tokenizer, [token]) or str(tokenizer.convert_ids_to_tokens(int(token)))


def _decode(tokenizer: Any, ids: Any) -> str:
    text: str = tokenizer.decode([int(token) for token in ids], skip_special_tokens=False)
    return printable(text.strip())


def printable(text: str) -> str:
    """The text on one line, with what a terminal would obey written out."""
    return "".join(
        char if char.isprintable() else " " if char in "\n\t\r" else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
