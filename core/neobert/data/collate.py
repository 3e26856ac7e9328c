"""Sequences to a batch: what a worker does, and all that it is given to do it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from neobert.batch import Batch, pad_batch

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
    ids: tuple[NDArray[np.integer[Any]], ...] | None = None
    """Each piece's tokens where they come with the request (a stream); None where the documents hold them."""


class CollatorRecipe:
    """A collator as its options and what they are built with: it pickles where the built object may not."""

    def __init__(self, part: Part, context: BuildContext) -> None:
        self.part = part
        self.context = context
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
        self._documents = documents
        self._special = special
        self._recipe = collator
        self._pad_to = pad_to
        self._pad_token_id = pad_token_id

    def __getitem__(self, request: Request) -> Batch:
        examples = [{"input_ids": self._special.around(ids)} for ids in self._ids(request)]
        rng = np.random.Generator(np.random.PCG64(request.seed))
        batch: Batch = self._recipe.collator()(examples, rng)
        return batch if self._pad_to is None else pad_batch(batch, self._pad_to, self._pad_token_id)

    def _ids(self, request: Request) -> tuple[NDArray[np.integer[Any]], ...]:
        if request.ids is not None:
            return request.ids
        if self._documents is None:
            msg = "a request without ids needs documents"
            raise ValueError(msg)
        return tuple(self._documents.ids(*piece) for piece in request.pieces.to_tuples())
