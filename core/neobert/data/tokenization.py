"""Text to token ids, once: in batches with the fast tokenizer, over processes where that pays, kept in the cache."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neobert.cache import build_once, cache_directory
from neobert.data.documents import TokenStore, write_store

logger = logging.getLogger("neobert.data")

ROWS_A_BATCH = 1000
BYTES_A_PROCESS = 64_000_000
"""Text that a further process must have to itself: starting one costs seconds, and one already uses every core to
encode; processes spread the rest of the work."""
_FORMAT = "1"

_encode: Any = None
_rows: Any = None


def tokenize(rows: Any, tokenizer: Any, *, num_proc: int | None = None, label: str = "train") -> TokenStore:
    """The documents of a ``datasets.Dataset`` with a ``text`` column, without special tokens, tokenized at most once.

    The cache key is the content of the text and the tokenizer's serialised form. ``num_proc`` None: one process a core,
    but none that has too little to do.
    """
    backend = plain_backend(tokenizer)
    content, size = _content(rows)
    key = _digest(_FORMAT, content, backend)
    return TokenStore(
        build_once(
            cache_directory("tokens") / key,
            lambda folder: _tokenize_into(folder, rows, backend, key, _processes(num_proc, size, len(rows)), label),
        )
    )


def plain_backend(tokenizer: Any) -> str:
    """The tokenizer's serialised form (JSON) with truncation and padding off; the tokenizer itself is left as it is."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    text: str = backend.to_str()
    return text


def encode_texts(backend: Any, texts: list[str | None]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All ids end to end, and the length of each text in tokens. No text counts as an empty one."""
    encodings = backend.encode_batch_fast([text or "" for text in texts], add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    return np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum())), lengths


def _tokenize_into(folder: Path, rows: Any, backend: str, key: str, processes: int, label: str) -> None:
    from tokenizers import Tokenizer

    began = perf_counter()
    folder.mkdir()
    small = Tokenizer.from_str(backend).get_vocab_size(with_added_tokens=True) <= np.iinfo(np.uint16).max
    dtype: np.dtype[Any] = np.dtype(np.uint16 if small else np.uint32)
    tokens = 0
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "ends.bin").open("wb") as ends_file:
        for ids, lengths in _encoded(rows, backend, processes):
            ids_file.write(ids.astype(dtype).tobytes())
            ends_file.write((tokens + np.cumsum(lengths)).tobytes())
            tokens += len(ids)
    write_store(folder, dtype=dtype, documents=len(rows), tokens=tokens, fingerprint=key)
    seconds = perf_counter() - began
    logger.info("tokenized %s: %d documents, %d tokens in %.1f s", label, len(rows), tokens, seconds)


def _encoded(rows: Any, backend: str, processes: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Batches of rows in order, encoded here or by processes that are never more than a few batches ahead."""
    starts = range(0, len(rows), ROWS_A_BATCH)
    if processes == 1:
        _prepare(rows, backend, None)
        yield from map(_encode_rows, starts)
        return
    setup = (rows, backend, "false")
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_prepare, initargs=setup) as pool:
        waiting: deque[Future[tuple[NDArray[np.int64], NDArray[np.int64]]]] = deque()
        for start in starts:
            waiting.append(pool.submit(_encode_rows, start))
            if len(waiting) > 4 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _prepare(rows: Any, backend: str, parallelism: str | None) -> None:
    """What a process encodes with; a process of many leaves the cores to the others."""
    from tokenizers import Tokenizer

    global _encode, _rows
    if parallelism is not None:
        os.environ["TOKENIZERS_PARALLELISM"] = parallelism
    _encode = Tokenizer.from_str(backend)
    _rows = rows


def _encode_rows(start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return encode_texts(_encode, _texts(_rows, start))


def _texts(rows: Any, start: int) -> list[str | None]:
    texts: list[str | None] = _text_array(rows, start).to_pylist()
    return texts


def _text_array(rows: Any, start: int) -> Any:
    stop = min(start + ROWS_A_BATCH, len(rows))
    return rows.with_format("arrow")[start:stop].column("text")


def _content(rows: Any) -> tuple[str, int]:
    """A digest of every text, however the table is laid out in memory, and the size of all in bytes."""
    import pyarrow.compute as pc

    digest = hashlib.blake2b(digest_size=16)
    size = 0
    for start in range(0, len(rows), ROWS_A_BATCH):
        column = _text_array(rows, start)
        lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy()
        digest.update(lengths.astype(np.int64).tobytes())
        for text in pc.drop_null(column).chunks:
            digest.update(_bytes_of(text))
        size += int(lengths[lengths > 0].sum())
    return digest.hexdigest(), size


def _bytes_of(array: Any) -> memoryview:
    """The UTF-8 bytes of an Arrow string array without nulls, end to end."""
    import pyarrow as pa

    binary = array.cast(pa.large_string())
    _, offsets, data = binary.buffers()
    if data is None:
        return memoryview(b"")
    bounds = np.frombuffer(offsets, dtype=np.int64)[binary.offset : binary.offset + len(binary) + 1]
    return memoryview(data)[int(bounds[0]) : int(bounds[-1])]


def _digest(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.encode())
    return digest.hexdigest()


def _processes(num_proc: int | None, size: int, rows: int) -> int:
    batches = max(1, -(-rows // ROWS_A_BATCH))
    if num_proc is not None:
        return min(num_proc, batches)
    return max(1, min(os.cpu_count() or 1, size // BYTES_A_PROCESS, batches))
