"""A micro-batch as large as they get, made by the recipe's own collator without data or tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neobert.batch import Batch
from neobert.roles import Holds, Roles

SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def stand_in_tokenizer(vocab_size: int) -> Any:
    """A tokenizer of this many tokens, the special ones first, which reads no text worth reading."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    names = [*SPECIAL_TOKENS.values(), *(f"w{number}" for number in range(len(SPECIAL_TOKENS), vocab_size))]
    backend = Tokenizer(models.WordLevel({name: number for number, name in enumerate(names)}, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=backend, **SPECIAL_TOKENS)


def full_batch(collator: Any, count: int, length: int, roles: Roles | None = None) -> Batch:
    """``count`` sequences of ``length`` tokens; with ``roles`` as many examples, each text so long, with what has to be
    there."""
    sequence = np.full(length, len(SPECIAL_TOKENS), dtype=np.int64)
    example = {"input_ids": sequence} if roles is None else full_example(roles, sequence)
    batch: Batch = collator([example] * count, np.random.default_rng(0))
    return batch


def full_example(roles: Roles, sequence: NDArray[np.int64]) -> dict[str, Any]:
    """An example of the required roles, each of its texts this sequence."""
    standing: dict[Holds, Any] = {"text": sequence, "texts": (sequence,), "int": 0, "float": 0.0}
    nothing = np.zeros(1, dtype=np.float32)
    return {name: standing.get(roles.holding(name), nothing) for name in roles.required}
