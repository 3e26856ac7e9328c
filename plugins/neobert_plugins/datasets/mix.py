"""Several datasets as one: source after source, with a column that says whose each row is; streams by turns."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import fields_dict

from neobert.data.mixed_rows import mixed_stream
from neobert.data.splits import is_stream, select_splits
from neobert.errors import UserError
from neobert.mixture import SOURCE_COLUMN
from neobert.served import DatasetKeys
from neobert_plugins.datasets.mix_options import UNKNOWN_SIZE, Selection
from neobert_plugins.datasets.mix_roles import alike

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.data.splits import Splits
    from neobert.roles import Roles
    from neobert_plugins.datasets.mix_options import Mix

logger = logging.getLogger("neobert.datasets")


def read(options: Mix, context: BuildContext) -> dict[str, Any]:
    """``train`` of every source, ``eval`` of those that have it. Raises UserError that names the source."""
    options.mixture()  # names that contradict each other are told before anything is read
    splits = {name: _splits(options, name, context) for name in options.sources}
    train = {name: found.train for name, found in splits.items()}
    asked = (name for name in splits if options.select.get(name, Selection()).evaluate)
    held_out = {name: splits[name].eval for name in asked if splits[name].eval is not None}
    names = list(options.sources)
    built = {"train": _joined(train, names, context.roles)}
    return built | ({"eval": _joined(held_out, names, context.roles)} if held_out else {})


def _splits(options: Mix, name: str, context: BuildContext) -> Splits:
    selection = options.select.get(name, Selection())
    keys = DatasetKeys(
        text_column=selection.text_column,
        train_split=selection.train_split,
        eval_split=selection.eval_split,
        eval_samples=selection.eval_samples,
        validation_split=selection.validation_split,
        on_damaged_row=selection.on_damaged_row,
        role_columns=selection.role_columns,
    )
    try:
        splits = select_splits(options.sources[name].build(context), keys, context.seed, context.roles)
        if SOURCE_COLUMN in splits.train.features:
            raise UserError("it is a mixture itself: name its sources in this one")
    except UserError as error:
        raise UserError(f"source {name!r}: {_keys_of(options, name, str(error))}") from error
    if is_stream(splits.train) and not options.weights:
        raise UserError(f"source {name!r}: {UNKNOWN_SIZE}")
    for note in splits.notes[1:]:  # the first is about evaluation, of which the sources have some each
        logger.info("source %s: %s", name, note)
    return splits


def _keys_of(options: Mix, name: str, text: str) -> str:
    """What is said of a dataset, with its keys named where this source has them."""
    tables = dict.fromkeys(fields_dict(type(options.sources[name].options)), "sources")
    tables |= dict.fromkeys(fields_dict(Selection), "select")
    key = re.compile(rf"(?<![\w./-])dataset\.(?=({'|'.join(tables)})\b)")
    return key.sub(lambda found: f"dataset.{tables[found[1]]}.{name}.", text)


def _joined(rows: dict[str, Any], names: list[str], roles: Roles | None) -> Any:
    """Rows of all sources; those of a stream each by itself, to be read by turns."""
    import datasets

    streamed = any(map(is_stream, rows.values()))
    rows = _alike(rows) if roles is None else alike(rows, roles, fill=not streamed)
    if streamed:
        return mixed_stream(rows)
    numbered = [
        found.add_column(SOURCE_COLUMN, np.full(len(found), names.index(name), dtype=np.int32))
        for name, found in rows.items()
    ]
    return datasets.concatenate_datasets(numbered)


def _alike(rows: dict[str, Any]) -> dict[str, Any]:
    """The rows of each source, with one column of one type."""
    import datasets

    columns = {name: next(iter(found.features)) for name, found in rows.items()}
    if len(set(columns.values())) > 1:
        kinds = ", ".join(f"{name} has {column}" for name, column in columns.items())
        raise UserError(f"the sources of a mixture all have text, or all have input_ids; here {kinds}")
    (column,) = set(columns.values())
    features = [found.features[column] for found in rows.values()]
    if any(feature != features[0] for feature in features):
        wanted = datasets.Value("string") if column == "text" else datasets.List(datasets.Value("int64"))
        return {name: found.cast_column(column, wanted) for name, found in rows.items()}
    return rows
