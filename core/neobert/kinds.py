"""The kinds of part, in the order in which they are built."""

from __future__ import annotations

from attrs import frozen

from neobert.served import CollatorKeys, DatasetKeys, ModelKeys


@frozen
class Kind:
    """One sort of part that a recipe picks."""

    name: str
    hook: str
    """The hook through which plugins of this kind come."""
    key: str | None
    """Its top-level key in a recipe: a table of the kind's own name, or ``trackers``; None inside another part."""
    served: type | None = None
    """Keys of its table that the core serves for every plugin of the kind, as an attrs class."""


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("dataset", "neobert_datasets", "dataset", DatasetKeys),
        Kind("tokenizer", "neobert_tokenizers", "tokenizer"),
        Kind("datacollator", "neobert_datacollators", "datacollator", CollatorKeys),
        Kind("model", "neobert_models", "model", ModelKeys),
        Kind("attn_backend", "neobert_attn_backends", None),
        Kind("loss", "neobert_losses", "loss"),
        Kind("optimizer", "neobert_optimizers", "optimizer"),
        Kind("scheduler", "neobert_schedulers", "scheduler"),
        Kind("checkpointer", "neobert_checkpointers", "checkpointer"),
        Kind("tracker", "neobert_trackers", "trackers"),
    )
}
