"""The keys of stored examples' texts, made once for each length that texts are cut to, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import frozen

from neobert.cache import build_once, cache_directory
from neobert.data.show import printable
from neobert.data.text_keys import TextKeys, text_key, without_prefix
from neobert.errors import UserError
from neobert.wording import counted

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from neobert.data.example_form import ExampleRules
    from neobert.data.examples import Examples

    _Int64s = NDArray[np.int64]

SHOWN = 60
"""Characters of a text that are shown."""
_KEYS_A_PASS = 1 << 24
_FORMAT = "1"


@frozen(eq=False)
class KeyTable:
    """The keys of some examples, by row. An empty text, and one of a role that is not kept apart, has the key 0."""

    examples: Examples
    keys: _Int64s
    """(texts,) in the order of the table."""
    tokenizer: Any

    def of(self, rows: _Int64s) -> TextKeys:
        """Of the texts of these rows."""
        ends = self.examples.table.row_ends
        first = np.where(rows > 0, ends[np.maximum(rows, 1) - 1], 0)
        counts = ends[rows] - first
        example = np.repeat(np.arange(len(rows)), counts)
        text = np.arange(len(example)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
        key = np.asarray(self.keys[text])
        return TextKeys(
            example[key != 0], key[key != 0], lambda place, wanted: self.beginning(int(rows[place]), wanted)
        )

    def beginning(self, row: int, key: int) -> str:
        """How the text of this key begins, which the row has."""
        rules = self.examples.rules
        for name, ids in self.examples.bare(row):
            own = without_prefix(ids, rules.prefix_ids.get(name, ()))[: reach(rules)]
            if text_key(own) == key:
                text = printable(self.tokenizer.decode(own[:SHOWN].tolist()).strip())
                return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        return "(a text that is not there)"


def key_table(examples: Examples, tokenizer: Any) -> KeyTable | None:
    """The keys of examples, out of the cache where the examples are; None where no role is kept apart."""
    if not examples.rules.roles.kept_apart:
        return None
    if examples.table.folder is None:
        return KeyTable(examples, _made(examples), tokenizer)
    rules = examples.rules
    about = [_FORMAT, examples.fingerprint, rules.body, {k: list(v) for k, v in rules.prefix_ids.items()}]
    name = hashlib.blake2b(json.dumps([*about, rules.roles.kept_apart]).encode(), digest_size=16).hexdigest()
    path = build_once(cache_directory("text-keys") / f"{name}.npy", lambda file: _write(file, _made(examples)))
    return KeyTable(examples, np.load(path, mmap_mode="r"), tokenizer)


def refuse_crowded(table: KeyTable, micro_batches: int, holds: str) -> None:
    """Raises UserError where one text is in more examples than there are micro-batches in an epoch, so that an epoch
    cannot keep them apart; ``holds`` says what a micro-batch has."""
    examples = int((table.examples.lengths > 0).sum())
    if not micro_batches:
        msg = f"{counted(examples, 'example')} cannot fill a micro-batch of {holds}: one would stand in it twice"
        raise UserError(f"{msg}\nlower trainer.per_device_train_batch_size")
    count, key, row = most_common(table)
    if count <= micro_batches:
        return
    msg = (
        f"one text is in {counted(count, 'example')} of {examples:,}, and an epoch has "
        f"{counted(micro_batches, 'micro-batch')} of {holds}: two examples with a common text never share one, so "
        f"{count - micro_batches:,} would be left over\n"
        f"the text begins: {table.beginning(row, key)!r}\n"
        "smaller micro-batches make more of them (trainer.per_device_train_batch_size); or leave such rows out"
    )
    raise UserError(msg)


def most_common(table: KeyTable) -> tuple[int, int, int]:
    """The key that most examples have: (how many, the key, a row that has it). An example counts once."""
    best = (0, 0, 0)
    lengths = table.examples.lengths
    passes = max(1, -(-len(table.keys) // _KEYS_A_PASS))
    for number in range(passes):
        parts = []
        for stretch in table.examples.stretches():
            here = np.asarray(table.keys[stretch.first_text : stretch.first_text + len(stretch.row)])
            mine = (here != 0) & (here % passes == number) & (lengths[stretch.first + stretch.row] > 0)
            parts.append(np.stack([here[mine], stretch.first + stretch.row[mine]]))
        key, row = np.concatenate(parts, axis=1) if parts else np.empty((2, 0), dtype=np.int64)
        if not len(key):
            continue
        order = np.argsort(key, kind="stable")  # rows of a key stay in order, so those of one row stand together
        key, row = key[order], row[order]
        fresh = np.append(True, (key[1:] != key[:-1]) | (row[1:] != row[:-1]))
        found, places, counts = np.unique(key[fresh], return_index=True, return_counts=True)
        place = int(np.argmax(counts))
        best = max(best, (int(counts[place]), int(found[place]), int(row[fresh][places[place]])))
    return best


def reach(rules: ExampleRules) -> int:
    """Tokens of a text that are compared: as many as fit behind any of the prefixes, so that a long text is the same
    one in every role."""
    return rules.body - max(map(len, rules.prefix_ids.values()), default=0)


def _made(examples: Examples) -> _Int64s:
    rules = examples.rules
    apart = rules.numbers(rules.roles.kept_apart)
    prefixes, most = [rules.prefix_ids.get(name, ()) for name in rules.slots], reach(rules)
    keys = np.zeros(len(examples.table.ends), dtype=np.int64)
    for stretch in examples.stretches():
        begins = np.cumsum(stretch.uncut) - stretch.uncut
        first, last = examples.table.tokens_of(stretch.first_text, stretch.first_text + len(stretch.row))
        ids = np.asarray(examples.table.ids[first:last], dtype="<i4")
        wanted = np.flatnonzero(np.isin(stretch.owner, apart) & (stretch.length > 0))
        columns = (column[wanted].tolist() for column in (begins, stretch.length, stretch.owner))
        for text, begin, length, owner in zip(wanted.tolist(), *columns, strict=True):
            own = ids[begin : begin + length]
            own = without_prefix(own, prefixes[owner]) if prefixes[owner] else own
            keys[stretch.first_text + text] = text_key(own[:most])
    return keys


def _write(file: Path, keys: _Int64s) -> None:
    with file.open("wb") as stream:
        np.save(stream, keys)
