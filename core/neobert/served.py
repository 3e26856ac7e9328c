"""Keys that the core serves for every plugin of a kind: they stand in that kind's table, whatever plugin it names.

The classes are plain attrs classes like any plugin's options, so one engine structures, explains and documents both.
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen
from attrs.validators import and_, ge, gt, lt, optional


@frozen(kw_only=True)
class DatasetKeys:
    """What the core does with the rows of any dataset."""

    max_seq_length: int = field(
        default=512, validator=ge(3), metadata={"help": "tokens a sequence may have, its special tokens included"}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "column with the text; unset: the only string column, else `text`"}
    )
    role_columns: dict[str, str] = field(
        factory=dict,
        metadata={
            "help": "for a datacollator with roles: role -> column, the others are left out; unset: columns named like "
            "the roles"
        },
    )
    role_prefixes: dict[str, str] = field(
        factory=dict, metadata={"help": "for a datacollator with roles: role -> text put before each text of it"}
    )
    train_split: str = field(default="train", metadata={"help": "split to train on; slices such as `train[:90%]` too"})
    eval_split: str | None = field(
        default=None,
        metadata={
            "help": "split to evaluate on, or several with + between, each measured by itself too; unset: a split "
            "named validation, eval, test or dev"
        },
    )
    eval_samples: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "rows to evaluate on; with no eval split, the first rows of train, never trained on"},
    )
    validation_split: float | None = field(
        default=None,
        validator=optional(and_(gt(0.0), lt(1.0))),
        metadata={"help": "share of train to reserve for evaluation where there is no eval split"},
    )
    shard_streams_by: Literal["row", "file"] = field(
        default="row",
        metadata={
            "help": "what a rank reads of a stream: row: all, in one order for any number of ranks; file: its own files"
        },
    )
    on_damaged_row: Literal["skip", "stop"] = field(
        default="skip",
        metadata={
            "help": "a row that cannot be read: skip names and counts it, and stops where half of the rows are such"
        },
    )
    num_workers: int | None = field(
        default=None,
        validator=optional(ge(0)),
        metadata={"help": "processes that collate batches, 0 collates in the loop; unset: 0, on CUDA up to 4"},
    )
    pin_memory: bool | None = field(
        default=None, metadata={"help": "page-locked batches; unset: only where the device is CUDA"}
    )
    persistent_workers: bool | None = field(
        default=None,
        metadata={"help": "keep workers from epoch to epoch, false starts new ones; unset: true with any workers"},
    )
    prefetch_factor: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "micro-batches each worker has ready; unset: 2"}
    )
    num_proc: int | None = field(
        default=None, validator=optional(ge(1)), metadata={"help": "processes that tokenize; unset: one a core"}
    )


@frozen(kw_only=True)
class CollatorKeys:
    """How documents become the sequences of a micro-batch, whatever collator turns them into tensors."""

    pack_sequences: bool = field(
        default=False,
        metadata={"help": "fill every micro-batch to per_device_train_batch_size * max_seq_length tokens"},
    )
    packing_window: int = field(
        default=16384,
        validator=ge(1),
        metadata={"help": "documents, or examples, of the order that are packed together"},
    )
    overflow: Literal["split", "truncate", "drop"] = field(
        default="split",
        metadata={
            "help": "what becomes of a document longer than max_seq_length; a text of an example is cut, or with "
            "`drop` its example left out"
        },
    )
    group_by_length: bool = field(
        default=False, metadata={"help": "without packing: sequences of similar length share a micro-batch"}
    )


@frozen(kw_only=True)
class ModelKeys:
    """What the core does with any model."""

    weights: str | None = field(
        default=None,
        metadata={
            "help": "a run, a checkpoint, an export, or a folder or file of safetensors to start from; strict: every "
            "tensor is used, or it is an error",
            "path": True,
        },
    )
