"""Sequences to a batch: what a worker does, and all that it is given to do it with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, frozen

from neobert.batch import Batch, pad_batch
from neobert.data.shortening import shorten

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.data.documents import Documents
    from neobert.data.sequences import Pieces, SpecialTokens
    from neobert.parts import Part


@frozen(eq=False)
class Request:
    """One micro-batch to make."""

    pieces: Pieces
    seed: int
    """Of the collator's generator."""
    ids: tuple[Any, ...] | None = None
    """Each piece's tokens, or what it is as an example, where they come with the request (a stream); None where the
    documents hold them."""
    limit: int | None = None
    """Tokens of an example, at most: longer sequences are cut into several. None cuts none."""


class _Rows(Mapping[str, Any]):
    """The run's rows, as a collator sees them. They may be large: a worker gets them only where the collator looked at
    them when it was built here."""

    def __init__(self, rows: Mapping[str, Any] | None) -> None:
        self._rows = rows
        self._seen = False

    def _look(self) -> Mapping[str, Any]:
        self._seen = True
        if self._rows is None:
            msg = "a data worker has no context.dataset: its collator did not look at it while it was built"
            raise RuntimeError(msg)
        return self._rows

    def __getitem__(self, split: str) -> Any:
        return self._look()[split]

    def __iter__(self) -> Iterator[str]:
        return iter(self._look())

    def __len__(self) -> int:
        return len(self._look())

    def __reduce__(self) -> tuple[Any, ...]:
        return _Rows, (self._rows if self._seen else None,)


class CollatorRecipe:
    """A collator as its options and what they are built with: it pickles where the built object may not."""

    def __init__(self, part: Part, context: BuildContext) -> None:
        self.part = part
        known = context._dataset
        self.context = context if known is None else evolve(context, dataset=_Rows(known))
        self._collator: Any = part.build(context)

    def collator(self) -> Any:
        """The collator itself, built once a process: here at once, in a worker when the first batch is made."""
        if self._collator is None:
            self._collator = self.part.build(self.context)
        return self._collator

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_collator": None}


class BatchMaker:
    """Makes the batch of a request: tokens, special tokens, collator, padding. The same in every process."""

    def __init__(
        self,
        documents: Documents | None,
        special: SpecialTokens,
        collator: CollatorRecipe,
        *,
        pad_to: int | None = None,
        pad_token_id: int = 0,
    ) -> None:
        self.documents = documents
        self._special = special
        self._recipe = collator
        self._pad_to = pad_to
        self._pad_token_id = pad_token_id

    def __getitem__(self, request: Request) -> Batch:
        examples = self._examples(request)
        rng = np.random.Generator(np.random.PCG64(request.seed))
        batch: Batch = self._recipe.collator()(examples, rng)
        return batch if self._pad_to is None else pad_batch(batch, self._pad_to, self._pad_token_id)

    def _examples(self, request: Request) -> list[Mapping[str, Any]]:
        """What the collator gets."""
        sequences = [self._special.around(ids) for ids in self.ids(request)]
        if request.limit is not None:
            sequences = shorten(sequences, request.limit)
        return [{"input_ids": sequence} for sequence in sequences]

    def without_documents(self) -> BatchMaker:
        """The same, for requests that bring their tokens."""
        maker = copy(self)
        maker.documents = None
        return maker

    def ids(self, request: Request) -> tuple[Any, ...]:
        """The tokens of each piece of a request, without special tokens."""
        if request.ids is not None:
            return request.ids
        if self.documents is None:
            msg = "a request without ids needs documents"
            raise ValueError(msg)
        return tuple(self.documents.ids(*piece) for piece in request.pieces.to_tuples())


class ExampleMaker(BatchMaker):
    """The same of documents that are examples: the collator gets them by role."""

    documents: Any

    def _examples(self, request: Request) -> list[Mapping[str, Any]]:
        return list(self.ids(request))

    def ids(self, request: Request) -> tuple[Any, ...]:
        """Each example of a request: role -> ids with special tokens, or numbers."""
        if request.ids is not None:
            return request.ids
        return tuple(self.documents.example(row) for row in request.pieces.document.tolist())
