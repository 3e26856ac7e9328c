"""Text to token ids, once: in batches, over processes where that pays, kept in the cache."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.cache import build_once, cache_directory
from neobert.cores import available_cores
from neobert.data.documents import TokenStore, write_store
from neobert.data.texts import BYTES_A_BATCH, content_digest, text_batches
from neobert.encoding import Encoded, encode_in_process, encode_texts, start_process
from neobert.errors import UserError
from neobert.fresh_processes import spawning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

logger = logging.getLogger("neobert.data")

BYTES_A_PROCESS = 64_000_000
"""Text that a further process must have to itself: one process already uses every core to encode, and others
only spread the little that it does on one."""
_FORMAT = "1"


def tokenize(rows: Any, tokenizer: Any, *, num_proc: int | None = None, label: str = "train") -> TokenStore:
    """The documents of a ``datasets.Dataset`` with ``text``, without special tokens, tokenized at most once.

    The cache key is the content of the text and the tokenizer's serialised form. ``num_proc`` None: one
    process a core, but none that has too little to do.
    """
    backend = plain_backend(tokenizer)
    content, size = content_digest(rows)
    key = _digest(_FORMAT, content, backend)
    return TokenStore(
        build_once(
            cache_directory("tokens") / key,
            lambda folder: _tokenize_into(folder, rows, backend, key, process_count(num_proc, size), label),
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


def _tokenize_into(folder: Path, rows: Any, backend: str, key: str, processes: int, label: str) -> None:
    began = perf_counter()
    folder.mkdir()
    dtype = id_type(backend)
    tokens = 0
    with (folder / "ids.bin").open("wb") as ids_file, (folder / "ends.bin").open("wb") as ends_file:
        for _, (ids, lengths) in encoded(rows, backend, processes=processes, dtype=dtype, label=label):
            ids_file.write(ids.astype(dtype, copy=False).tobytes())
            ends_file.write((tokens + np.cumsum(lengths)).tobytes())
            tokens += len(ids)
    write_store(folder, dtype=dtype, documents=len(rows), tokens=tokens, fingerprint=key)
    seconds = perf_counter() - began
    if len(rows):
        logger.info("tokenized %s: %d documents, %d tokens in %.1f s", label, len(rows), tokens, seconds)


def encoded(
    rows: Any, backend: str, *, processes: int, dtype: np.dtype[Any], label: str
) -> Iterator[tuple[int, Encoded]]:
    """(number of the first row, what it and those after it encode to) of all rows, in order.

    In this process two batches are under way at once, each over all cores, so that none waits for the end of
    a batch; processes have one core each, and are never more than a few batches ahead.
    """
    yield from encoded_batches(text_batches(rows, label), backend, processes=processes, dtype=dtype, label=label)


def encoded_batches(
    batches: Iterator[tuple[int, list[str | None]]],
    backend: str,
    *,
    processes: int,
    dtype: np.dtype[Any],
    label: str,
) -> Iterator[tuple[int, Encoded]]:
    """The same of batches of texts, each with the number of its first row."""
    if processes == 1:
        from tokenizers import Tokenizer

        here = Tokenizer.from_str(backend)
        with ThreadPoolExecutor(2, thread_name_prefix="neobert-encode") as pool:
            yield from _in_order(pool, lambda texts: encode_texts(here, texts), batches, ahead=2, label=label)
        return
    with ProcessPoolExecutor(processes, spawning(), initializer=start_process, initargs=(backend,)) as workers:
        encode = partial(encode_in_process, dtype=dtype.name)
        yield from _in_order(workers, encode, batches, ahead=3 * processes, label=label)


def _in_order(
    pool: Executor,
    encode: Callable[[list[str | None]], Encoded],
    batches: Iterator[tuple[int, list[str | None]]],
    *,
    ahead: int,
    label: str,
) -> Iterator[tuple[int, Encoded]]:
    waiting: deque[tuple[int, Future[Encoded]]] = deque()
    first = 0
    try:
        for first, texts in batches:
            waiting.append((first, pool.submit(encode, texts)))
            if len(waiting) > ahead:
                first, done = waiting.popleft()
                yield first, done.result()
        while waiting:
            first, done = waiting.popleft()
            yield first, done.result()
    except BrokenProcessPool as error:
        msg = (
            f"a tokenizing process died at row {first} of {label} or shortly after: the system may have ended it for "
            "its memory\nfewer processes need less (dataset.num_proc, --num-proc)"
        )
        raise UserError(msg) from error
    finally:
        for _, future in waiting:
            future.cancel()


def id_type(backend: str) -> np.dtype[Any]:
    """The narrowest unsigned integers that hold every id of a serialised tokenizer."""
    from tokenizers import Tokenizer

    largest_id = max(Tokenizer.from_str(backend).get_vocab(with_added_tokens=True).values())
    return np.dtype(np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.uint32)


def _digest(*parts: str) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part.encode())
    return digest.hexdigest()


def process_count(num_proc: int | None, size: int) -> int:
    """How many processes encode ``size`` bytes: ``num_proc``, but none that has nothing to do."""
    if num_proc is not None:
        return max(1, min(num_proc, -(-size // BYTES_A_BATCH)))
    return max(1, min(available_cores(), size // BYTES_A_PROCESS))
