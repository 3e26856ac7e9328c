"""What each kind's ``build()`` returns. Structural: nothing here is inherited, and nothing is isinstance-checked.

Shapes: T tokens in the stream, N sequences, H heads, D head dim, C hidden size, V vocabulary, M masked tokens,
E embedding size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from neobert.batch import Batch, SequenceLayout


@frozen(eq=False)
class LossOutput:
    """What a loss returns: a sum, and what to divide it by. Only the core divides."""

    total: Tensor
    """The loss summed over ``count`` items: a scalar with a gradient."""
    count: Tensor
    """How many items (masked tokens, pairs) the sum is over: a scalar."""
    metrics: Mapping[str, Tensor] = field(factory=dict)
    """Detached scalars, summed over the batch; logged as ``train/NAME`` after division by the count."""


@frozen(eq=False, kw_only=True)
class SentenceHead:
    """What makes a sequence's embedding of its tokens' hidden states, in this order: pool, project, normalise.

    Returned by a loss's ``sentence_head()``; evaluation and export go by it.
    """

    pooling: str
    """``mean``, ``cls``, ``max``, ``last`` or ``weighted_mean``, over all tokens of the sequence, special ones too."""
    normalize: bool
    """Embeddings have length 1."""
    projection: tuple[Tensor, Tensor | None] | None = None
    """Weight (E, C) and bias (E,), the parameters themselves; the bias is None where there is none."""


@frozen(eq=False, kw_only=True)
class PredictionHead:
    """What makes a sequence's classes or its number of its tokens' hidden states: a linear layer with a GELU and one
    more, on the pooled vector; with ``late``, on every token's, and then their mean.

    Returned by a loss's ``prediction_head()``; evaluation and export go by it. It is what transformers'
    ``EuroBertForSequenceClassification`` computes.
    """

    pooling: str
    """``mean``, ``cls`` or ``late``, over all tokens of the sequence, special ones too."""
    dense: tuple[Tensor, Tensor]
    """Weight (C, C) and bias (C,), the parameters themselves."""
    output: tuple[Tensor, Tensor]
    """Weight (K, C) and bias (K,), the parameters themselves."""
    labels: tuple[str, ...] = ()
    """What the K classes are called; empty where the one output is a number."""
    metrics: tuple[str, ...] = ()
    """Figures of an evaluation that are wanted; empty: all of `neobert.prediction.figures` that there are."""


class AttentionBackend(Protocol):
    """Attention over a token stream in which a token sees only its own sequence."""

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        layout: SequenceLayout,
        *,
        scale: float,
        window: int | None = None,
        dropout_p: float = 0.0,
    ) -> Tensor:
        """q, k (already rotated) and v (T, H, D) -> (T, H, D).

        ``window`` is the number of tokens seen on each side; None sees the whole sequence.
        """
        ...


class Encoder(Protocol):
    """An ``nn.Module`` from a token stream to hidden states."""

    hidden_size: int
    vocab_size: int
    input_embedding: nn.Embedding
    """For a head to tie to."""
    blocks: nn.ModuleList
    """The repeated blocks: what is compiled, checkpointed and sharded."""

    def __call__(self, input_ids: Tensor, layout: SequenceLayout, keep: Tensor | None = None) -> Tensor:
        """input_ids (T,) -> hidden (T, C), or (M, C) when ``keep`` (M,) names the only positions wanted.

        ``keep`` may come in any order; the rows come out in that order.
        An optional method ``export() -> (config, tensors)`` maps the weights to a native architecture. An optional
        property ``fused_matrices: Mapping[str, FusedMatrix]`` says which parameters, by their names in the encoder,
        hold several matrices in one.
        """
        ...


class Collator(Protocol):
    """Examples to a batch, purely: the same examples and rng give the same batch."""

    def __call__(self, examples: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> Batch:
        """Examples are mappings with ``input_ids``, special tokens and cutting already done; no padding is added. Where
        the options class states ``roles``, they are mappings of those: docs/columns.md.

        In a length warm-up an example may be a piece of a sequence, without the special tokens at its cut ends.
        """
        ...


class Loss(Protocol):
    """An ``nn.Module`` that may own a head, and never registers the encoder as its own submodule.

    One with a vocabulary head also has ``logits(encoder, hidden_MC) -> (M, V)`` and
    ``head_state() -> {"weight": (V, C), "bias": (V,) or absent}``. One that makes embeddings also has
    ``embed(encoder, input_ids, layout) -> (N, E)`` and ``sentence_head() -> SentenceHead``, and for a loss that wraps
    it ``losses_from(embeddings_NE, batch) -> LossOutput``. One that says something of each sequence also has
    ``predict(encoder, input_ids, layout) -> (N, K)``, ``losses_of(predictions_NK, batch) -> LossOutput`` and
    ``prediction_head() -> PredictionHead``.
    """

    def __call__(self, encoder: Encoder, batch: Batch) -> LossOutput: ...


class Schedule(Protocol):
    """The factor on each group's base learning rate, as a pure function.

    Its options may have a method ``explain_change(before, steps_done, max_steps) -> list[str]``, asked where a resumed
    run's steps would have had other rates: ``before`` are the checkpoint's options, of the same class, and
    ``max_steps`` is (before, now). Each answer says why, and what to do.
    """

    def __call__(self, step: int) -> float:
        """``step``: updates already done, so the first is 0."""
        ...


class Checkpointer(Protocol):
    """Writes and fills a flat dict of dotted key -> Tensor or JSON value. Every rank calls both methods.

    With ``takes_parts = True`` tensors may be those of which each process has a part (`DTensor`), in states and
    templates; without it they are whole. With ``writes = False`` a rank's `save` is given nothing. `save` may be called
    from a thread beside the one that trains (`trainer.async_save`), one at a time, with tensors on the host: what it
    says to other ranks it says over a group of its own.
    """

    def save(self, directory: Path, state: Mapping[str, Any]) -> None: ...

    def load(self, directory: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state`` is a template: same keys, same shapes and dtypes; returned filled."""
        ...


class Tracker(Protocol):
    """Where metrics go."""

    def log(self, metrics: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...
