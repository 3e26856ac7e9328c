"""What a part may rely on while it is built, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from attrs import field, frozen
from attrs.validators import deep_iterable, ge, instance_of, min_len

from neobert.errors import NotBuiltError

if TYPE_CHECKING:
    import torch

    from neobert.interfaces import Encoder
    from neobert.labels import Labels
    from neobert.roles import Roles

T = TypeVar("T")


@frozen(kw_only=True)
class ParameterGroup:
    """Parameters that an optimizer treats alike. No group is empty; tied parameters stand in one group, once."""

    role: Literal["matrix", "embedding", "head", "vector"]
    """``matrix``: 2-D, in ``encoder.blocks``; ``embedding``; ``head``: 2-D, of the loss; ``vector``: the rest."""
    decay: bool
    """Whether weight decay is meant for them."""
    parameters: Mapping[str, torch.nn.Parameter]
    """Name -> parameter, in the order of the modules."""


@frozen
class FusedMatrix:
    """How the rows of one weight are divided among the matrices that it fuses: (groups, parts, rows of a part).

    An encoder may say it of its parameters, as ``fused_matrices``. Rows that are [query, key, value] for each of H
    heads in turn are ``FusedMatrix(("query", "key", "value"), groups=H)``; those of a gate above those of what it
    gates, ``FusedMatrix(("gate", "up"))``.
    """

    parts: tuple[str, ...] = field(validator=[min_len(1), deep_iterable(instance_of(str))])
    """Names of the matrices, in the order of their rows within a group. ``query`` and ``key`` mean attention's."""
    groups: int = field(default=1, validator=ge(1))
    """How often that order comes; of ``query`` and ``key`` either a head is a group, or all heads lie in the one."""
    normalized: tuple[str, ...] = ()
    """Parts whose product is brought to a length afterwards, so that scaling their rows changes nothing."""


@frozen(kw_only=True)
class BuildContext:
    """Given to every ``build``. Parts are built in a fixed order, and each sees those before it:
    dataset, tokenizer, datacollator, encoder, loss, optimizer, scheduler, checkpointer, trackers.

    Asking for what is not built yet raises `NotBuiltError`.
    """

    seed: int
    device: torch.device
    rank: int = 0
    world_size: int = 1
    run_directory: Path
    max_seq_length: int
    max_steps: int
    roles: Roles | None = None
    """What the run's datacollator takes of each row, by role; None where it takes token sequences."""
    labels: Labels | None = None
    """The classes of the data's role ``label``; None without such a role, and before there is data."""
    compute_dtype: str = "float32"
    """What q, k and v come in while training: ``bfloat16`` under ``trainer.mixed_precision = "bf16"``."""
    _vocab_size: int | None = field(default=None)
    _dataset: Mapping[str, Any] | None = field(default=None)
    _tokenizer: Any = field(default=None)
    _encoder: Encoder | None = field(default=None)
    _parameter_groups: tuple[ParameterGroup, ...] | None = field(default=None)

    @property
    def vocab_size(self) -> int:
        """Rows of the embedding: the tokenizer's length, rounded up as the tokenizer's options say."""
        return _built(self._vocab_size, "vocab_size", "the tokenizer")

    @property
    def dataset(self) -> Mapping[str, Any]:
        """``{"train": ..., "eval": ...}`` as the dataset plugin returned it; ``eval`` may be absent."""
        return _built(self._dataset, "dataset", "the dataset")

    @property
    def tokenizer(self) -> Any:
        """The run's ``transformers.PreTrainedTokenizerFast``."""
        return _built(self._tokenizer, "tokenizer", "the tokenizer")

    @property
    def encoder(self) -> Encoder:
        """The model, on its device."""
        return _built(self._encoder, "encoder", "the model")

    @property
    def parameter_groups(self) -> tuple[ParameterGroup, ...]:
        """Every trainable parameter of encoder and loss, grouped by role and decay; for the optimizer."""
        return _built(self._parameter_groups, "parameter_groups", "the loss")


def _built(value: T | None, name: str, maker: str) -> T:
    if value is None:
        msg = f"context.{name} is not there yet: it exists once {maker} is built, and this part is built before that"
        raise NotBuiltError(msg)
    return value
