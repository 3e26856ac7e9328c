"""Text to token ids, and no more: the one module that a tokenizing process imports, so it starts in a moment."""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Encoded = tuple[NDArray[np.integer[Any]], NDArray[np.int64]]
"""All ids end to end, and the length of each text in tokens."""

_backend: Any = None


def encode_texts(backend: Any, texts: list[str | None]) -> Encoded:
    """The ids of each text, without special tokens. No text counts as an empty one."""
    encodings = backend.encode_batch_fast([text or "" for text in texts], add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    return np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum())), lengths


def start_process(serialised: str) -> None:
    """One process of many encodes on one thread: the cores are the others'."""
    global _backend
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _backend = Tokenizer.from_str(serialised)


def encode_in_process(texts: list[str | None], dtype: str) -> Encoded:
    """The same as `encode_texts`, in a process that `start_process` began; ids no wider than they need be."""
    ids, lengths = encode_texts(_backend, texts)
    return ids.astype(dtype), lengths
