"""Masking of runs of tokens.

Shapes: T tokens in the stream, L tokens of one sequence, M masked tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import frozen
from neobert import Batch, SequenceLayout, UserError
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .plugin import PluginOptions

Int64s = NDArray[np.int64]


@frozen(eq=False)
class SpanCollator:
    """``collator(examples, rng)`` -> `Batch` with ``masked_positions`` (M,) ascending and ``labels`` (M,)."""

    options: PluginOptions
    mask_token_id: int
    special: Int64s
    """Ids that are never masked."""

    @classmethod
    def for_tokenizer(cls, tokenizer: Any, options: PluginOptions) -> SpanCollator:
        """Raises `UserError` where the tokenizer has no mask token."""
        if tokenizer.mask_token_id is None:
            msg = "datacollator plugin_name needs a tokenizer with a mask token"
            raise UserError(msg)
        return cls(options, int(tokenizer.mask_token_id), np.asarray(tokenizer.all_special_ids, dtype=np.int64))

    def __call__(self, examples: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Batch:
        """Pure: what is masked depends on the examples and the generator alone."""
        sequences = [np.asarray(example["input_ids"], dtype=np.int64) for example in examples]
        original = np.concatenate(sequences)
        chosen = np.concatenate([self._choose(sequence, rng) for sequence in sequences])
        positions = np.flatnonzero(chosen).astype(np.int64)
        masked = original.copy()
        masked[positions] = self.mask_token_id
        fields = {
            "masked_positions": torch.from_numpy(positions),
            "labels": torch.from_numpy(original[positions]),
        }
        layout = SequenceLayout.from_lengths(len(sequence) for sequence in sequences)
        return Batch(torch.from_numpy(masked), layout, fields)

    def _choose(self, sequence: Int64s, rng: np.random.Generator) -> NDArray[np.bool_]:
        """(L,) which tokens are masked: runs, until the share is reached; a run ends before a special token."""
        open_to_it = ~np.isin(sequence, self.special)
        chosen = np.zeros(len(sequence), dtype=np.bool_)
        # Rounded at random, so that the share is right on average for short sequences too.
        wanted = int(self.options.mlm_probability * open_to_it.sum() + rng.random())
        while (missing := wanted - int(chosen.sum())) > 0:
            start = int(rng.choice(np.flatnonzero(open_to_it & ~chosen)))
            length = min(int(rng.geometric(1.0 / self.options.mean_length)), self.options.max_length, missing)
            run = open_to_it[start : start + length] & ~chosen[start : start + length]
            chosen[start : start + (len(run) if run.all() else int(run.argmin()))] = True
        return chosen
