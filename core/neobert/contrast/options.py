"""Keys of a recipe's ``[loss]`` that every loss that makes embeddings has. Imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from attrs import field, frozen
from attrs.validators import ge, optional

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.contrast.embedder import Embedder

Pooling = Literal["mean", "avg", "cls", "max", "last", "weighted_mean"]
COLDEST, WARMEST = 0.01, 1.0
"""What a learned temperature stays between (the lower one is that of CLIP, Radford et al. 2021, arXiv:2103.00020)."""


@frozen(kw_only=True)
class EmbeddingOptions:
    """What an options class inherits whose loss makes embeddings; docs/losses.md explains the class variables."""

    wrappable: ClassVar[bool] = True
    """Whether another loss may call its ``losses_from``, with embeddings of any size."""
    divisible: ClassVar[bool] = True
    """Whether the totals of a batch's parts sum to its own: not where examples are compared with each other."""

    pooling: Pooling = field(
        default="mean",
        metadata={
            "help": "a sequence's vector of its tokens', special ones too: their mean (`avg` is the same) or maximum, "
            "the first one's (`cls`) or last one's, or a mean in which weights grow with the position"
        },
    )
    projection_size: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={"help": "a linear layer makes embeddings of this size; unset: they have the model's hidden_size"},
    )
    projection_bias: bool = field(default=False, metadata={"help": "with projection_size: that layer has a bias"})
    chunk_tokens: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "encode a micro-batch in chunks of at most so many tokens, each once more in the backward pass: "
            "large batches in the memory of a chunk, with the same gradient; unset: all at once"
        },
    )

    def check(self, recipe: Any) -> list[str]:
        """What cannot work together, found before any work."""
        problems = []
        if self.projection_bias and self.projection_size is None:
            problems.append("projection_bias: has no effect: projection_size is unset, so there is no such layer")
        return problems + self._chunk_problems(recipe)

    def embedder(self, context: BuildContext, *, normalize: bool = True) -> Embedder:
        """The way from hidden states to embeddings that these keys describe, for ``build``."""
        from neobert.contrast.embedder import Embedder

        return Embedder(
            context.encoder.hidden_size,
            self.pooling,
            normalize=normalize,
            projection_size=self.projection_size,
            projection_bias=self.projection_bias,
            chunk_tokens=self.chunk_tokens,
        )

    def _chunk_problems(self, recipe: Any) -> list[str]:
        longest, trainer = recipe.dataset.max_seq_length, recipe.trainer
        problems: list[str] = []
        if self.chunk_tokens is None:
            return problems
        if trainer.strategy == "fsdp":
            problems.append(
                'chunk_tokens: not with trainer.strategy = "fsdp": processes have other numbers of chunks, and weights '
                "in parts come together only where all compute as often; leave it out, and take a smaller "
                "trainer.per_device_train_batch_size with more processes"
            )
        if self.chunk_tokens < longest:
            problems.append(
                f"chunk_tokens: a sequence of dataset.max_seq_length = {longest} tokens is more than a chunk"
            )
        dynamic = trainer.torch_compile_dynamic
        if trainer.torch_compile and not (not recipe.datacollator.pack_sequences if dynamic is None else dynamic):
            problems.append(
                "chunk_tokens: chunks have different numbers of tokens, and blocks are compiled for one number each: "
                "set trainer.torch_compile_dynamic = true"
            )
        return problems
