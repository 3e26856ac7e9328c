"""A corpus tokenized part by part, on one machine or many: what is whole stays, what is not is made again.

    OUTPUT.shards/shard-00001-of-00004/part-00000/    rows.arrow, part.json, manifest.json (last; sizes, sha256)
    OUTPUT.shards/shard-00001-of-00004/shard.json     written when every part is there
    OUTPUT/                                           the joined dataset

A shard is a contiguous stretch of the corpus, a part a contiguous stretch of a shard: which rows it holds depends
on nothing but the corpus and the options, so shards joined are the corpus in its order.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import asdict, define, frozen

from neobert.data.provenance import Tokenization
from neobert.data.texts import ROWS_A_BLOCK, text_column, text_sizes
from neobert.data.token_rows import RowWriter, row_writer
from neobert.data.tokenization import encoded, id_type, plain_backend, process_count
from neobert.errors import UserError
from neobert.files import faults, new_directory, write_json
from neobert.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from neobert.data.sequences import SpecialTokens

ROWS, PART, SHARD = "rows.arrow", "part.json", "shard.json"


@frozen(kw_only=True)
class Job:
    """What every shard of one output has to agree on."""

    dataset: str
    """The corpus, as it was named."""
    corpus: str
    """Its extent: rows, or files with their sizes, so that machines that see another corpus are found out."""
    tokenization: Tokenization
    overflow: str
    special_tokens_mask: bool
    rows_per_part: int
    shards: int

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they come back from a file."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    def differences(self, other: dict[str, Any]) -> list[str]:
        """What another job has otherwise, a line each."""
        return differences(other, self.as_json(), "there", "here")


def differences(one: dict[str, Any], other: dict[str, Any], where_one: str, where_other: str) -> list[str]:
    """The options in which two jobs differ, a line each; one tokenizer may go by several names."""
    first, second = _flat(one), _flat(other)
    return [
        f"{key} = {first.get(key)!r} {where_one}, {second.get(key)!r} {where_other}"
        for key in dict.fromkeys((*first, *second))
        if first.get(key) != second.get(key) and key != "tokenization.tokenizer"
    ]


@define
class Counts:
    """What became of documents."""

    documents: int = 0
    rows: int = 0
    tokens: int = 0
    """Special tokens included."""
    empty: int = 0
    cut: int = 0
    """Documents over max_length: split, truncated or dropped, as ``overflow`` says."""

    def add(self, other: dict[str, int]) -> None:
        for name, count in other.items():
            setattr(self, name, getattr(self, name) + count)


def shards_folder(output: Path) -> Path:
    """Where the shards of an output stand until they are joined."""
    return output.with_name(f"{output.name}.shards")


def shard_folder(output: Path, shard: int, shards: int) -> Path:
    """The folder of one shard."""
    return shards_folder(output) / f"shard-{shard:05d}-of-{shards:05d}"


def stretch(total: int, shard: int, shards: int) -> tuple[int, int]:
    """Which of ``total`` rows or files a shard holds: contiguous, all of about the same number."""
    return total * shard // shards, total * (shard + 1) // shards


def write_shard(
    output: Path,
    shard: int,
    job: Job,
    rows: Any,
    tokenizer: Any,
    *,
    num_proc: int | None,
    label: str,
    say: Callable[[str], None],
) -> Counts:
    """Writes the parts of a shard that are not there yet; ``rows`` are the shard's own. Returns its counts."""
    folder = shard_folder(output, shard, job.shards)
    backend, counts = plain_backend(tokenizer), Counts()
    with held(folder, f"another process is writing {folder}: wait for it, or give each its own --shard I/N"):
        for stale in folder.glob(".part-*"):  # what a killed process left behind
            shutil.rmtree(stale)
        parts = max(1, -(-len(rows) // job.rows_per_part))
        for number in range(parts):
            place = folder / f"part-{number:05d}"
            if not _is_there(place, job, say):
                first = number * job.rows_per_part
                some = rows.select(range(first, min(first + job.rows_per_part, len(rows))))
                where = f"{label} from row {first} on" if first else label
                _write_part(place, job, some, backend, num_proc, where)
            counts.add(json.loads((place / PART).read_text(encoding="utf-8"))["counts"])
            done = f"{counted(counts.documents, 'document')}, {counted(counts.tokens, 'token')}"
            say(f"part {number + 1} of {parts}: {done} so far")
        write_json(folder / SHARD, {"job": job.as_json(), "shard": shard, "parts": parts, "counts": asdict(counts)})
    return counts


def cut_rows(
    ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64], body: int | None, overflow: str
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Documents as rows of at most ``body`` tokens; an empty document is an empty row."""
    if body is None or not len(lengths) or lengths.max() <= body:
        return ids, lengths
    if overflow == "split":
        pieces = np.maximum(1, -(-lengths // body))
        last = np.cumsum(pieces) - 1
        split = np.full(int(pieces.sum()), body, dtype=np.int64)
        split[last] = lengths - (pieces - 1) * body
        return ids, split
    position = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    if overflow == "truncate":
        return ids[position < body], np.minimum(lengths, body)
    fits = lengths <= body
    return ids[np.repeat(fits, lengths)], lengths[fits]


def _write_part(place: Path, job: Job, rows: Any, backend: str, num_proc: int | None, label: str) -> None:
    special = job.tokenization.around
    counts = Counts(documents=len(rows))
    with new_directory(place) as folder:
        with row_writer(folder / ROWS, special, mask=job.special_tokens_mask) as writer:
            processes = process_count(num_proc, _size(rows))
            for _, (ids, lengths) in encoded(rows, backend, processes=processes, dtype=id_type(backend), label=label):
                _add_rows(writer, counts, ids, lengths, job, special)
        counts.rows, counts.tokens = writer.rows, writer.tokens
        write_json(folder / PART, {"job": job.as_json(), "counts": asdict(counts)})


def _add_rows(
    writer: RowWriter,
    counts: Counts,
    ids: NDArray[np.integer[Any]],
    lengths: NDArray[np.int64],
    job: Job,
    special: SpecialTokens,
) -> None:
    length = job.tokenization.max_length
    body = None if length is None else length - special.count
    counts.empty += int((lengths == 0).sum())
    counts.cut += 0 if body is None else int((lengths > body).sum())
    writer.write(*cut_rows(ids, lengths, body, job.overflow))


def _is_there(place: Path, job: Job, say: Callable[[str], None]) -> bool:
    """Whether a part is whole, and this job's; one that is damaged is removed."""
    if not place.exists():
        return False
    found = faults(place)
    if found:
        say(f"{place} is damaged and is written again: {'; '.join(found)}")
        shutil.rmtree(place)
        return False
    there = json.loads((place / PART).read_text(encoding="utf-8"))["job"]
    if different := job.differences(there):
        lines = "\n".join(f"  {line}" for line in different)
        msg = f"{place} was written with other options:\n{lines}\nsay the same ones, or name another --output"
        raise UserError(msg)
    return True


@contextmanager
def held(folder: Path, refusal: str) -> Iterator[None]:
    """One process a folder: two would remove what the other is writing. Raises UserError where another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(refusal) from error
        yield


def _size(rows: Any) -> int:
    firsts = range(0, len(rows), ROWS_A_BLOCK)
    return sum(int(text_sizes(text_column(rows, first)).clip(min=0).sum()) for first in firsts)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
