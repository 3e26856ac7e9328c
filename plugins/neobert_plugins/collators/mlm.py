"""Masking for masked-language modelling, over a whole token stream at once.

Shapes: T tokens in the stream, M selected tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import field, frozen
from numpy.typing import NDArray

from neobert.batch import Batch, SequenceLayout
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from neobert_plugins.collators.options import MaskedLM

_Int64s = NDArray[np.int64]


@frozen(eq=False)
class MaskedLMCollator:
    """``collator(examples, rng)`` -> `Batch` with ``masked_positions`` (M,) ascending and ``labels`` (M,)."""

    probability: float
    mask_share: float
    random_share: float
    """The rest of the selected keep their token."""
    mask_token_id: int
    special: NDArray[np.bool_] = field(repr=False)
    """(ids,) whether an id is special: never selected, never drawn."""
    drawn: _Int64s = field(repr=False)
    """The ids that a random replacement is drawn from."""

    @classmethod
    def for_tokenizer(cls, tokenizer: Any, options: MaskedLM) -> MaskedLMCollator:
        """Raises UserError where the tokenizer has no mask token, or nothing but special ones."""
        if tokenizer.mask_token_id is None:
            msg = "datacollator mlm needs a tokenizer with a mask token"
            raise UserError(msg)
        ids = np.unique(np.fromiter(tokenizer.get_vocab().values(), dtype=np.int64))
        special = np.zeros(int(ids.max()) + 1, dtype=np.bool_)
        special[list(tokenizer.all_special_ids)] = True
        drawn = ids[~special[ids]]
        if not drawn.size:
            msg = "datacollator mlm: the tokenizer has no token beside special ones"
            raise UserError(msg)
        mask_share = 1.0 if options.mask_all else options.mask_share
        random_share = 0.0 if options.mask_all else options.random_share
        return cls(options.mlm_probability, mask_share, random_share, int(tokenizer.mask_token_id), special, drawn)

    def __call__(self, examples: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Batch:
        """Pure: what is masked depends on the examples and the generator alone."""
        sequences = [np.asarray(example["input_ids"], dtype=np.int64) for example in examples]
        labels_T = np.concatenate(sequences)
        positions_M = self._select(labels_T, rng)
        input_ids_T = labels_T.copy()
        input_ids_T[positions_M] = self._replace(labels_T[positions_M], rng)
        fields = {
            "masked_positions": torch.from_numpy(positions_M),
            "labels": torch.from_numpy(labels_T[positions_M]),
        }
        layout = SequenceLayout.from_lengths(len(sequence) for sequence in sequences)
        return Batch(torch.from_numpy(input_ids_T), layout, fields)

    def _select(self, ids_T: _Int64s, rng: np.random.Generator) -> _Int64s:
        """A Bernoulli draw for every token; where it takes none, one of those it could have taken."""
        may_T = ~self.special[ids_T]
        positions = np.flatnonzero((rng.random(len(ids_T)) < self.probability) & may_T)
        if not positions.size and may_T.any():
            positions = rng.choice(np.flatnonzero(may_T), size=1)
        return positions.astype(np.int64)

    def _replace(self, ids_M: _Int64s, rng: np.random.Generator) -> _Int64s:
        share_M = rng.random(len(ids_M))
        random_M = self.drawn[rng.integers(len(self.drawn), size=len(ids_M))]
        masked = share_M < self.mask_share
        random = ~masked & (share_M < self.mask_share + self.random_share)
        return np.where(masked, self.mask_token_id, np.where(random, random_M, ids_M))
