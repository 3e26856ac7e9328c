"""A micro-batch as large as they get, made by the recipe's own collator without data or tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np

from neobert.batch import Batch

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


def full_batch(collator: Any, count: int, length: int) -> Batch:
    """``count`` sequences of ``length`` tokens."""
    sequence = np.full(length, len(SPECIAL_TOKENS), dtype=np.int64)
    batch: Batch = collator([{"input_ids": sequence}] * count, np.random.default_rng(0))
    return batch
