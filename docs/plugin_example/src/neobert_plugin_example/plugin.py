"""What neobert finds: the options classes and the hooks. Importing this module imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import ge

from neobert import BuildContext, Capabilities, hookimpl

if TYPE_CHECKING:
    from neobert_plugin_example.blockwise import BlockwiseAttend
    from neobert_plugin_example.focal import FocalLoss


@frozen(kw_only=True)
class Blockwise:
    """Exact attention in blocks of queries: memory grows with the block, not with the sequence squared."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True)

    block_size: int = field(default=128, validator=ge(1), metadata={"help": "queries handled at once"})

    def build(self, context: BuildContext) -> BlockwiseAttend:
        from neobert_plugin_example.blockwise import BlockwiseAttend

        return BlockwiseAttend(self.block_size)


@frozen(kw_only=True)
class FocalLM:
    """Masked language modelling that weighs a token by (1 - p) ** gamma (Lin et al. 2017)."""

    gamma: float = field(
        default=1.0,
        validator=ge(0.0),
        metadata={"help": "how little well-guessed tokens weigh; 0 is masked_lm"},
    )

    def build(self, context: BuildContext) -> FocalLoss:
        from neobert_plugin_example.focal import FocalLoss

        return FocalLoss(context.encoder, self.gamma)


@hookimpl
def neobert_attn_backends() -> dict[str, type]:
    return {"blockwise": Blockwise}


@hookimpl
def neobert_losses() -> dict[str, type]:
    return {"focal_lm": FocalLM}
