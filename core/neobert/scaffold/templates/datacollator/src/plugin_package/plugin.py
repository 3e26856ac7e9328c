"""Options and hook. Imported whenever plugins are listed, so torch is imported in `build` alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le
from neobert import BuildContext, hookimpl

if TYPE_CHECKING:
    from neobert.interfaces import Collator


@frozen(kw_only=True)
class PluginOptions:
    """Masks runs of neighbouring tokens, so that the loss guesses phrases and not single words.

    Lengths are geometric, as in SpanBERT (arXiv:1907.10529, section 3.1), there over words.
    """

    # What every batch has, so that `--check` can tell which losses go with it.
    batch_fields: ClassVar[tuple[str, ...]] = ("masked_positions", "labels")

    mlm_probability: float = field(
        default=0.15, validator=and_(gt(0.0), le(1.0)), metadata={"help": "share of a sequence's tokens"}
    )
    mean_length: float = field(default=4.0, validator=ge(1.0), metadata={"help": "tokens of a run, on average"})
    max_length: int = field(default=10, validator=ge(1), metadata={"help": "tokens of a run at most"})

    def build(self, context: BuildContext) -> Collator:
        """A callable; workers build their own from these options."""
        from .spans import SpanCollator

        return SpanCollator.for_tokenizer(context.tokenizer, self)


@hookimpl
def neobert_datacollators() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
