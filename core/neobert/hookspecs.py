"""One hook a kind. Each returns ``{name: options class}``; what the classes build is in `neobert.interfaces`."""

from __future__ import annotations

import pluggy

PROJECT = "neobert"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

OptionsByName = dict[str, type]


@hookspec
def neobert_models() -> OptionsByName:  # type: ignore[empty-body]
    """Encoders: ``build(context)`` returns an `Encoder`."""


@hookspec
def neobert_attn_backends() -> OptionsByName:  # type: ignore[empty-body]
    """Attention over a token stream: returns an `AttentionBackend`."""


@hookspec
def neobert_tokenizers() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a ``transformers.PreTrainedTokenizerFast``."""


@hookspec
def neobert_datasets() -> OptionsByName:  # type: ignore[empty-body]
    """Rows: returns ``{"train": ..., "eval": ...}`` of ``datasets`` objects."""


@hookspec
def neobert_datacollators() -> OptionsByName:  # type: ignore[empty-body]
    """Examples to a `Batch`: returns a `Collator`."""


@hookspec
def neobert_losses() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a `Loss`, which may own a head."""


@hookspec
def neobert_optimizers() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a ``torch.optim.Optimizer`` over ``context.parameter_groups``."""


@hookspec
def neobert_schedulers() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a `Schedule`: step -> factor on the learning rate."""


@hookspec
def neobert_checkpointers() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a `Checkpointer`."""


@hookspec
def neobert_trackers() -> OptionsByName:  # type: ignore[empty-body]
    """Returns a `Tracker`."""
