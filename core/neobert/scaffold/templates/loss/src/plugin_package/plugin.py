"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import ge
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Loss


@frozen(kw_only=True)
class PluginOptions:
    """Cross-entropy of masked tokens plus epsilon * (1 - p), which weighs the first step towards the right token.

    PolyLoss (arXiv:2204.12511, section 4): the first term of cross-entropy's expansion in 1 - p, by another factor.
    """

    # Without these fields of a batch it cannot be computed; `--check` compares them with the collator's.
    needs_fields: ClassVar[tuple[str, ...]] = ("masked_positions", "labels")

    epsilon: float = field(default=1.0, validator=ge(-1.0), metadata={"help": "0 is plain cross-entropy"})

    def build(self, context: BuildContext) -> Loss:
        """An ``nn.Module`` with a head tied to the encoder's embedding."""
        from .polynomial import PolynomialLoss

        return PolynomialLoss(context.encoder, self.epsilon)


@hookimpl
def neobert_losses() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
