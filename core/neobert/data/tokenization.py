"""Text to token ids, once: in batches, over processes where that pays, kept in the cache."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neobert.cache import build_once, cache_directory
from neobert.data.documents import TokenStore, write_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = logging.getLogger("neobert.data")

ROWS_A_BATCH = 1000
BYTES_A_PROCESS = 64_000_000
"""Text that a further process must have to itself: starting one costs seconds, and one already uses every
core to encode; processes spread the rest of the work."""
_FORMAT = "1"

_Encoded = tuple[NDArray[np.int64], NDArray[np.int64]]
_encoder: _Encoder | None = None


def tokenize(rows: Any, tokenizer: Any, *, num_proc: int | None = None, label: str = "train") -> TokenStore:
    """The documents of a ``datasets.Dataset`` with ``text``, without special tokens, tokenized at most once.

    The cache key is the content of the text and the tokenizer's serialised form. ``num_proc`` None: one
    process a core, but none that has too little to do.
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
    """The tokenizer's JSON with truncation and padding off; the tokenizer itself is left as it is."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    text: str = backend.to_str()
    return text


def encode_texts(backend: Any, texts: list[str | None]) -> _Encoded:
    """All ids end to end, and the length of each text in tokens. No text counts as an empty one."""
    encodings = backend.encode_batch_fast([text or "" for text in texts], add_special_tokens=False)
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), dtype=np.int64, count=len(ids))
    return np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=int(lengths.sum())), lengths


def _tokenize_into(folder: Path, rows: Any, backend: str, key: str, processes: int, label: str) -> None:
    from tokenizers import Tokenizer

    began = perf_counter()
    folder.mkdir()
    largest_id = max(Tokenizer.from_str(backend).get_vocab(with_added_tokens=True).values())
    dtype: np.dtype[Any] = np.dtype(np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.uint32)
    tokens = 0
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "ends.bin").open("wb") as ends_file:
        for ids, lengths in _encoded(rows, backend, processes):
            ids_file.write(ids.astype(dtype).tobytes())
            ends_file.write((tokens + np.cumsum(lengths)).tobytes())
            tokens += len(ids)
    write_store(folder, dtype=dtype, documents=len(rows), tokens=tokens, fingerprint=key)
    seconds = perf_counter() - began
    logger.info("tokenized %s: %d documents, %d tokens in %.1f s", label, len(rows), tokens, seconds)


def _encoded(rows: Any, backend: str, processes: int) -> Iterator[_Encoded]:
    """Batches of rows in order, encoded here or by processes that are never more than a few batches ahead."""
    starts = range(0, len(rows), ROWS_A_BATCH)
    if processes == 1:
        yield from map(_Encoder(rows, backend).rows_from, starts)
        return
    with ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=_start_process, initargs=(rows, backend)
    ) as pool:
        waiting: deque[Future[_Encoded]] = deque()
        for start in starts:
            waiting.append(pool.submit(_in_process, start))
            if len(waiting) > 4 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Encoder:
    """Encodes batches of a dataset's rows."""

    def __init__(self, rows: Any, backend: str) -> None:
        from tokenizers import Tokenizer

        self._rows = rows
        self._backend = Tokenizer.from_str(backend)

    def rows_from(self, start: int) -> _Encoded:
        return encode_texts(self._backend, _text_array(self._rows, start).to_pylist())


def _start_process(rows: Any, backend: str) -> None:
    """One process of many encodes on one thread: the cores are the others'."""
    global _encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _encoder = _Encoder(rows, backend)


def _in_process(start: int) -> _Encoded:
    assert _encoder is not None
    return _encoder.rows_from(start)


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
