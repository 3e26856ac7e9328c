"""Rows of role columns as examples: tokenized at most once, checked, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from neobert.cache import build_once, cache_directory
from neobert.data.example_blocks import RoleLayout, arrow_blocks, stored_blocks
from neobert.data.example_checks import check_values, refuse_nothing_left
from neobert.data.example_store import TableWriter, open_table
from neobert.data.examples import Examples
from neobert.data.pretokenized import check_vocabulary
from neobert.data.provenance import TOKENIZATION, read_record, recorded, refuse_other_tokenizer
from neobert.data.role_columns import holds_ids
from neobert.data.texts import BYTES_A_BATCH, digest_of, files_of
from neobert.data.tokenization import encoded_batches, id_type, plain_backend, process_count
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from neobert.data.example_blocks import Block
    from neobert.data.example_form import ExampleForm
    from neobert.encoding import Encoded

logger = logging.getLogger("neobert.data")

_FORMAT = "1"


def examples_of(rows: Any, form: ExampleForm, *, num_proc: int | None = None, label: str = "train") -> Examples:
    """The examples of a ``datasets.Dataset`` whose columns are named by role (see `prepare_roles`).

    The cache key is the content of the columns, the tokenizer, the roles and the prefixes. Raises UserError that names
    a row whose numbers do not fit, or where no example is left.
    """
    tokenized = holds_ids(rows, form.rules.roles)
    if tokenized:
        form = tokenized_form(rows, form, label)
    layout = RoleLayout(form, rows)
    backend = plain_backend(form.tokenizer)
    content, size = _content(rows)
    about = [_FORMAT, content, list(form.rules.slots), dict(form.prefixes), list(form.labels), list(layout.lists)]
    key = hashlib.blake2b(json.dumps([*about, backend]).encode(), digest_size=16).hexdigest()
    work = _Work(rows, form, layout, backend, label, process_count(num_proc, size))
    write = work.write_ids if tokenized else work.write_texts
    folder = build_once(cache_directory("examples") / key, lambda folder: write(folder, key))
    examples = Examples(open_table(folder), form.rules)
    check_values(examples, label)
    counts = refuse_nothing_left(examples, label)
    form.refuse_told_apart(role.name for role in counts.roles if role.texts)
    return examples


def tokenized_form(rows: Any, form: ExampleForm, label: str) -> ExampleForm:
    """The form of rows that are token ids already: their prefixes are inside. Raises UserError where the recipe has
    others, or another tokenizer made them."""
    record = recorded(rows, label)
    inside: dict[str, str] = {}
    if record is not None:
        refuse_other_tokenizer(record, form.tokenizer, label)
        folder = rows.cache_files[0]["filename"]
        inside = _prefixes_beside(folder)
    if form.prefixes and dict(form.prefixes) != inside:
        of_data = ", ".join(f"{role} = {text!r}" for role, text in inside.items()) or "none that is known"
        msg = (
            f"{form.said} is set, and {label} is tokenized already: prefixes are inside ({of_data})\n"
            f"leave {form.said} out, or tokenize the texts again"
        )
        raise UserError(msg)
    return form.with_prefixes(inside, form.said)


def without_bare_prefixes(
    ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64], owners: NDArray[np.uint8], form: ExampleForm
) -> tuple[NDArray[np.integer[Any]], NDArray[np.int64]]:
    """Texts end to end, of which those that are a prefix and nothing else are empty."""
    bare = np.zeros(len(lengths), dtype=np.bool_)
    begins = np.cumsum(lengths) - lengths
    for role, prefix in form.rules.prefix_ids.items():
        for text in np.flatnonzero((owners == form.rules.slots.index(role)) & (lengths == len(prefix))).tolist():
            bare[text] = ids[begins[text] : begins[text] + len(prefix)].tolist() == list(prefix)
    if not bare.any():
        return ids, lengths
    return ids[~np.repeat(bare, lengths)], np.where(bare, 0, lengths)


def flat_ids(block: Block) -> Encoded:
    """Texts that are lists of ids, end to end. Raises TypeError where one of the ids is nothing."""
    lengths = np.fromiter(map(len, block.texts), dtype=np.int64, count=len(block.texts))
    return np.fromiter(chain.from_iterable(block.texts), dtype=np.int64, count=int(lengths.sum())), lengths


@frozen
class _Work:
    """Writing the table of some rows."""

    rows: Any
    form: ExampleForm
    layout: RoleLayout
    backend: str
    label: str
    processes: int
    _owners: deque[NDArray[np.uint8]] = field(factory=deque, init=False)
    """Of the texts that are being tokenized."""

    def write_texts(self, folder: Path, key: str) -> None:
        began = perf_counter()
        folder.mkdir()
        dtype, tokens = id_type(self.backend), 0
        with TableWriter(folder, dtype, self.layout.lists) as writer:
            batches = self._batches(writer)
            for _, (ids, lengths) in encoded_batches(
                batches, self.backend, processes=self.processes, dtype=dtype, label=self.label
            ):
                kept = without_bare_prefixes(ids, lengths, self._owners.popleft(), self.form)
                writer.texts(*kept)
                tokens += len(kept[0])
            writer.finish(key)
        self._say(tokens, perf_counter() - began)

    def write_ids(self, folder: Path, key: str) -> None:
        folder.mkdir()
        vocabulary = max(self.form.tokenizer.get_vocab().values()) + 1
        place, first = files_of(self.rows), 0
        with TableWriter(folder, id_type(self.backend), self.layout.lists) as writer:
            for block in stored_blocks(self.rows, self.layout, self.label):
                writer.rows(block)
                writer.texts(*checked_ids(block, self.form, vocabulary, first, self.label, place))
                first += block.rows
            writer.finish(key)

    def _batches(self, writer: TableWriter) -> Iterator[tuple[int, list[str | None]]]:
        """Texts that are encoded at once. Rows are written when theirs are asked for."""
        first = 0
        for block in stored_blocks(self.rows, self.layout, self.label):
            writer.rows(block)
            ends = np.cumsum(np.fromiter(map(len, block.texts), dtype=np.int64, count=len(block.texts)))
            start = 0
            while start < len(ends):
                done = int(ends[start - 1]) if start else 0
                stop = max(start + 1, int(np.searchsorted(ends, done + BYTES_A_BATCH, side="right")))
                self._owners.append(block.owners[start:stop])
                yield first, block.texts[start:stop]
                start = stop
            first += block.rows

    def _say(self, tokens: int, seconds: float) -> None:
        logger.info("tokenized %s: %d examples, %d tokens in %.1f s", self.label, len(self.rows), tokens, seconds)


def checked_ids(block: Block, form: ExampleForm, vocabulary: int, first: int, label: str, place: str = "") -> Encoded:
    """The ids of a block whose texts are lists of them; rows are numbered from ``first``. Raises UserError where one is
    nothing, or not the tokenizer's, or where special tokens stand around the texts."""
    row_of = np.repeat(np.arange(block.rows), block.counts)
    try:
        ids, lengths = flat_ids(block)
    except TypeError as error:
        text = next(text for text, found in enumerate(block.texts) if None in found)
        msg = f"row {first + row_of[text]} of {label} has an empty value among its ids{place}"
        raise UserError(msg) from error
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    rows = np.concatenate(([0], np.cumsum(np.bincount(row_of, weights=lengths, minlength=block.rows)))).astype(np.int64)
    check_vocabulary(ids, rows, vocabulary, first, label, place)
    special = form.rules.special
    for text in np.flatnonzero(lengths > special.count).tolist()[: 1 if special.count else 0]:
        inside = ids[bounds[text] : bounds[text + 1]].tolist()
        around = (*inside[: len(special.prefix)], *inside[len(inside) - len(special.suffix) :])
        if around == (*special.prefix, *special.suffix):
            msg = (
                f"row {first + row_of[text]} of {label} has the tokenizer's special tokens around its ids: for "
                f"examples give ids without them, as --preprocess does{place}"
            )
            raise UserError(msg)
    return ids, lengths


def _content(rows: Any) -> tuple[str, int]:
    """A digest of all columns, and about how many bytes their texts have."""
    import pyarrow as pa

    names = sorted(rows.features)
    digest, size = hashlib.blake2b(json.dumps(names).encode(), digest_size=16), 0
    for _, columns in arrow_blocks(rows):
        for name in names:
            digest_of(columns[name], digest)
            if not pa.types.is_primitive(columns[name].type):
                size += columns[name].nbytes
    return digest.hexdigest(), size


def _prefixes_beside(file: str) -> dict[str, str]:
    from pathlib import Path

    _, said = read_record(Path(file).parent / TOKENIZATION)
    return dict(said.get("prefixes", {}))
