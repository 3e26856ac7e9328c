"""The positives that a run trains on, as further candidates of its held-out queries: held-out code among all code.

Shapes: n texts, E embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray
from torch import Tensor

from neobert.abilities import makes_embeddings
from neobert.batch import Batch, SequenceLayout
from neobert.data.text_keys import text_key
from neobert.embedding.texts import embed_sequences
from neobert.errors import UserError
from neobert.training.embedding_meter import POSITIVE

if TYPE_CHECKING:
    from neobert.training.assemble import Parts
    from neobert.training.objective import Objective

KEY = "trainer.eval_train_candidates"


@frozen(eq=False)
class TrainedCandidates:
    """Some of the rows that are trained on, and where their texts are."""

    documents: Any
    """Examples by number."""
    rows: NDArray[np.int64]
    """Their numbers, ascending; those that are left out of training are not among them."""

    @classmethod
    def of(cls, parts: Parts, count: int) -> TrainedCandidates:
        """``count`` of the run's rows, spread evenly over all of them; all where there are no more.

        Raises UserError where the run has nothing to rank, or trains on a stream.
        """
        corpus = parts.own_data.corpus
        if parts.evaluation_data is None or not makes_embeddings(parts.own_objective.loss):
            what = "there is no held-out data" if parts.evaluation_data is None else "this loss makes no embeddings"
            msg = f"{KEY} = {count}: {what}, so nothing is ranked among what is trained on"
            raise UserError(msg)
        if corpus.documents is None:
            msg = (
                f"{KEY} = {count}: the training rows are a stream, which has no rows to choose from\nleave it out, or "
                "read the dataset without streaming"
            )
            raise UserError(msg)
        rows = np.flatnonzero(corpus.cut.lengths)
        count = min(count, len(rows))
        return cls(corpus.documents, rows[np.arange(count) * len(rows) // count])

    def embedded(self, objective: Objective, device: torch.device) -> tuple[list[int], Tensor]:
        """Keys and embeddings (n, E) of the distinct texts. Called in evaluation mode, by all who evaluate."""
        sequences = dict(self._sequences())

        def embed(input_ids: Tensor, layout: SequenceLayout) -> Tensor:
            return objective.embed(Batch(input_ids, layout, {}))

        return list(sequences), embed_sequences(embed, list(sequences.values()), device)

    def _sequences(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        for row in self.rows.tolist():
            sequence = self.documents.example(row)[POSITIVE]
            yield text_key(sequence), sequence
