"""Examples as a folder that `datasets.load_from_disk` opens: token ids by role, and the numbers beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neobert.data.labels import LABEL
from neobert.data.provenance import Tokenization
from neobert.data.token_rows import arrow_file, complete_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from neobert.data.examples import Examples

_ROWS_A_BATCH = 1000


def write_examples(
    folder: Path, examples: Examples, tokenizer: Any, prefixes: Mapping[str, str], labels: Sequence[str] = ()
) -> None:
    """All rows in their order, uncut, those that are no examples too: a run on them takes the same steps.

    ``prefixes`` are inside the ids; the record beside the rows has them. ``labels``: what the classes are called that
    the numbers of the role ``label`` mean. Raises UserError where the disk is full.
    """
    import datasets
    import pyarrow as pa

    folder.mkdir()
    features = datasets.Features(_types(examples, labels))
    schema = features.arrow_schema
    with arrow_file(folder / "data.arrow", schema) as stream:
        for first in range(0, len(examples), _ROWS_A_BATCH):
            columns = _columns(examples, first, min(first + _ROWS_A_BATCH, len(examples)))
            arrays = [columns[name].cast(schema.field(name).type) for name in schema.names]
            stream.write_batch(pa.record_batch(arrays, schema=schema))
    complete_folder(folder, ["data.arrow"], examples.fingerprint, dict(features))
    record = Tokenization.of(tokenizer, special_tokens=False)
    inside = {role: text for role, text in prefixes.items() if text}
    record.write(folder, counts={"documents": len(examples)}, content=examples.fingerprint, prefixes=inside)


def _types(examples: Examples, labels: Sequence[str]) -> dict[str, Any]:
    import datasets

    ids = datasets.List(datasets.Value("int32"))
    types: dict[str, Any] = dict.fromkeys(examples.rules.roles.texts, ids)
    types |= dict.fromkeys(examples.table.lists, datasets.List(ids))
    for role, values in examples.table.values.items():
        number = datasets.Value(values.numbers.dtype.name)
        types[role] = number if values.ends is None else datasets.List(number)
    if labels and LABEL in types:
        types[LABEL] = datasets.ClassLabel(names=list(labels))
    return types


def _columns(examples: Examples, first: int, last: int) -> dict[str, Any]:
    """Arrow arrays of these rows."""
    import pyarrow as pa

    table, roles = examples.table, examples.rules.roles
    texts = table.texts_of(first, last)
    begin, end = table.tokens_of(*texts)
    ids, lengths = np.asarray(table.ids[begin:end], dtype=np.int32), table.text_lengths(*texts)
    owners = table.owners[slice(*texts)]
    row = np.repeat(np.arange(last - first), np.diff(table.row_ends[first:last], prepend=texts[0]))
    columns = {}
    for name in (*roles.texts, *table.lists):
        mine = owners == examples.rules.slots.index(name)
        bounds = np.concatenate(([0], np.cumsum(lengths[mine])))
        columns[name] = pa.ListArray.from_arrays(_offsets(bounds), pa.array(ids[np.repeat(mine, lengths)]))
        if name in table.lists:
            counts = np.bincount(row[mine], minlength=last - first)
            columns[name] = pa.ListArray.from_arrays(_offsets(np.concatenate(([0], np.cumsum(counts)))), columns[name])
    for name, values in table.values.items():
        missing = values.missing(first, last)
        if values.ends is None:
            columns[name] = pa.array(values.numbers[first:last], mask=missing)
            continue
        start = int(values.ends[first - 1]) if first else 0
        bounds = np.concatenate(([0], values.ends[first:last] - start))
        columns[name] = pa.ListArray.from_arrays(
            _offsets(bounds), pa.array(values.numbers[start : start + int(bounds[-1])])
        )
    return columns


def _offsets(bounds: np.ndarray) -> Any:
    import pyarrow as pa

    return pa.array(bounds.astype(np.int32))
