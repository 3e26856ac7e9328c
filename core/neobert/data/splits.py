"""Which rows are trained on, and which are kept for evaluation."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve, field, frozen

from neobert.data.columns import prepare_columns
from neobert.data.order import permute
from neobert.data.role_columns import prepare_roles, refuse_unlike_roles
from neobert.errors import UserError
from neobert.seeding import derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neobert.roles import Roles
    from neobert.served import DatasetKeys

EVALUATION_SPLITS = ("validation", "eval", "test", "dev")
"""Names of splits to evaluate on where none is named, in the order in which they are looked for."""
SEVERAL = "+"
"""Between the names of several splits to evaluate on."""
STREAM_EVAL_SAMPLES = 1000
"""Rows of an evaluation split that is a stream, where ``eval_samples`` is unset."""


@frozen(eq=False)
class Splits:
    """Rows to train and to evaluate on, each with one column, ``text`` or ``input_ids``, or with columns by role."""

    train: Any
    eval: Any | None
    notes: tuple[str, ...] = ()
    """What was decided, a line each, for people."""
    eval_sizes: Mapping[str, int] = field(factory=dict)
    """Where several splits are evaluated on, how many of the rows each has, in their order; empty for one."""

    def as_mapping(self) -> dict[str, Any]:
        """``{"train": ..., "eval": ...}``, or without ``eval``: what parts see as ``context.dataset``."""
        return {"train": self.train} | ({} if self.eval is None else {"eval": self.eval})


def select_splits(built: Mapping[str, Any], keys: DatasetKeys, seed: int, roles: Roles | None = None) -> Splits:
    """The splits that a recipe's ``[dataset]`` keys ask for, out of what a dataset plugin returned; with ``roles``, as
    rows of named columns.

    Evaluation rows are, in this order: ``eval_split``, one or several with + between; a split named validation, eval,
    test or dev; the first ``eval_samples`` rows of train; a seeded ``validation_split`` share of train. Rows taken
    from train are never trained on. Raises UserError for a missing split, an empty one, or a column that is not there.
    """
    train = pick_split(built, keys.train_split, "dataset.train_split")
    _refuse_empty(train, keys.train_split)
    eval_name = keys.eval_split or next((name for name in EVALUATION_SPLITS if _holds(built, name, keys)), None)
    if eval_name is not None and SEVERAL in eval_name:
        return _with_several(built, eval_name.split(SEVERAL), keys, seed, roles)
    if eval_name is not None:
        held_out, note = _first_rows(pick_split(built, eval_name, "dataset.eval_split"), eval_name, keys)
        if _name_of(eval_name) == _name_of(keys.train_split) and "[" not in keys.train_split:
            note += "; these rows are also trained on, because dataset.train_split takes all of that split"
    else:
        train, held_out, note = _held_out(train, keys, seed, built)
    reserved = held_out is not None and eval_name is None
    label = f"split {keys.train_split!r}" + " (without the evaluation rows)" * reserved
    train, notes = _prepared(train, keys, roles, label)
    if held_out is not None:
        _refuse_empty(held_out, eval_name or "evaluation")
        held_out, _ = _prepared(held_out, keys, roles, f"split {eval_name or keys.train_split!r}")
        if roles is None:
            _refuse_unlike(train, held_out)
        else:
            refuse_unlike_roles(train, held_out, roles)
    return Splits(train, held_out, (note, *notes))


def _with_several(
    built: Mapping[str, Any], names: list[str], keys: DatasetKeys, seed: int, roles: Roles | None
) -> Splits:
    """Evaluation rows of several splits, one after another: each is measured by itself, too."""
    from datasets import concatenate_datasets

    if not all(names) or len(set(names)) < len(names):
        msg = f"dataset.eval_split = {SEVERAL.join(names)!r}: expected names of splits, each once, with + between"
        raise UserError(msg)
    found = {name: select_splits(built, evolve(keys, eval_split=name), seed, roles) for name in names}
    rows: dict[str, Any] = {name: splits.eval for name, splits in found.items()}
    notes = dict.fromkeys(note for splits in found.values() for note in splits.notes)
    sizes = {name: len(own) for name, own in rows.items()}
    return Splits(found[names[0]].train, concatenate_datasets(list(rows.values())), tuple(notes), sizes)


def _prepared(rows: Any, keys: DatasetKeys, roles: Roles | None, label: str) -> tuple[Any, tuple[str, ...]]:
    """The rows with the columns that are trained on, and what there is to say about others."""
    if roles is None:
        return prepare_columns(rows, keys.text_column, label=label, on_damaged_row=keys.on_damaged_row), ()
    found = prepare_roles(rows, roles, keys.role_columns, label=label, on_damaged_row=keys.on_damaged_row)
    return found.rows, found.notes


def _held_out(train: Any, keys: DatasetKeys, seed: int, built: Mapping[str, Any]) -> tuple[Any, Any | None, str]:
    """What is left of train, what is taken of it for evaluation where no split is there for that, and a note."""
    if keys.eval_samples is not None:
        if keys.shard_streams_by == "file":
            msg = (
                f"dataset.eval_samples = {keys.eval_samples} reserves the first rows of the stream, and with "
                'dataset.shard_streams_by = "file" no rank reads all of it: name an eval split or eval_path, or '
                'shard_streams_by = "row"'
            )
            raise UserError(msg)
        note = f"evaluation: the first {keys.eval_samples} rows of {keys.train_split}, not trained on"
        return *_reserve(train, keys.eval_samples), note
    if keys.validation_split is not None:
        train, held_out = _share(train, keys.validation_split, seed)
        return train, held_out, f"evaluation: {len(held_out)} seeded rows of {keys.train_split}, not trained on"
    return train, None, _no_evaluation(built)


def _no_evaluation(built: Mapping[str, Any]) -> str:
    ways = "dataset.eval_samples or dataset.validation_split"
    if len(built) == 1:
        return f"evaluation: none (no eval split; set {ways})"
    return f"evaluation: none (no eval split among {', '.join(built)}; set dataset.eval_split, {ways})"


def is_stream(rows: Any) -> bool:
    """Whether rows come one after another, with no number of them known."""
    return not hasattr(rows, "__len__")


def _holds(built: Mapping[str, Any], name: str, keys: DatasetKeys) -> bool:
    return name in built and name != _name_of(keys.train_split)


def _name_of(split: str) -> str:
    return split.partition("[")[0]


def pick_split(built: Mapping[str, Any], split: str, said: str) -> Any:
    """The rows that ``split`` names, such as `train` or `train[:90%]`; ``said`` is the key or flag that it is from."""
    name, bracket, _ = split.partition("[")
    if name not in built:
        close = get_close_matches(name, list(built), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        msg = f"{said} = {split!r}: no such split{hint}\nsplits: {', '.join(built) or 'none'}"
        raise UserError(msg)
    rows = built[name]
    if not bracket:
        return rows
    if is_stream(rows):
        msg = f"{said} = {split!r}: a stream cannot be sliced; set dataset.eval_samples to reserve its first rows"
        raise UserError(msg)
    return _slice(rows, split, name, said)


def _slice(rows: Any, split: str, name: str, said: str) -> Any:
    import datasets

    try:
        stretches = datasets.ReadInstruction.from_spec(split).to_absolute({name: len(rows)})
    except (ValueError, AssertionError) as error:
        msg = (
            f"{said} = {split!r}: not a slice of {len(rows)} rows ({error})\n"
            "expected such as train[:90%] or train[100:200]"
        )
        raise UserError(msg) from error
    indices = [
        index for part in stretches for index in range(part.from_ or 0, len(rows) if part.to is None else part.to)
    ]
    if not indices:
        msg = f"{said} = {split!r}: no row of the split's {len(rows)} is in that slice"
        raise UserError(msg)
    return rows.select(range(indices[0], indices[-1] + 1) if len(stretches) == 1 else indices)


def _first_rows(rows: Any, name: str, keys: DatasetKeys) -> tuple[Any, str]:
    limit = keys.eval_samples
    if is_stream(rows):
        limit = limit or STREAM_EVAL_SAMPLES
        why = "" if keys.eval_samples else "; the split is a stream, dataset.eval_samples sets another number"
        return _read(rows.take(limit)), f"evaluation: the first {limit} rows of {name}{why}"
    if limit is not None and limit < len(rows):
        return rows.select(range(limit)), f"evaluation: the first {limit} of {len(rows)} rows of {name}"
    return rows, f"evaluation: {len(rows)} rows of {name}"


def _reserve(train: Any, samples: int) -> tuple[Any, Any]:
    if is_stream(train):
        return train.skip(samples), _read(train.take(samples))
    if samples >= len(train):
        msg = f"dataset.eval_samples = {samples} leaves nothing to train on: the training split has {len(train)} rows"
        raise UserError(msg)
    return train.select(range(samples, len(train))), train.select(range(samples))


def _share(train: Any, share: float, seed: int) -> tuple[Any, Any]:
    if is_stream(train):
        msg = f"dataset.validation_split = {share}: a stream has no share; set dataset.eval_samples instead"
        raise UserError(msg)
    count = round(share * len(train))
    if not 0 < count < len(train):
        msg = (
            f"dataset.validation_split = {share} of {len(train)} rows leaves no row to "
            f"{'train' if count else 'evaluate'} on"
        )
        raise UserError(msg)
    chosen = np.zeros(len(train), dtype=np.bool_)
    chosen[permute(np.arange(count), len(train), derive_seed(seed, "validation_split"))] = True
    return train.select(np.flatnonzero(~chosen)), train.select(np.flatnonzero(chosen))


def _read(stream: Any) -> Any:
    """A short stretch of a stream, read once, so that every evaluation sees the same rows."""
    import datasets

    rows = list(stream)
    if not rows:
        msg = "the stream to evaluate on has no row"
        raise UserError(msg)
    return datasets.Dataset.from_list(rows, features=stream.features)


def _refuse_empty(rows: Any, name: str) -> None:
    if not is_stream(rows) and len(rows) == 0:
        msg = f"split {name!r} is empty: it has no row"
        raise UserError(msg)


def _refuse_unlike(train: Any, held_out: Any) -> None:
    names = [rows.column_names[0] for rows in (train, held_out)]
    if names[0] != names[1]:
        msg = (
            f"the training rows are {names[0]}, the evaluation rows are {names[1]}: both must be text, "
            "or both input_ids"
        )
        raise UserError(msg)
