"""Options of the built-in collators."""

from __future__ import annotations

from math import isclose
from typing import TYPE_CHECKING, Any, ClassVar

from attrs import field, frozen
from attrs.validators import and_, ge, gt, le

from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.context import BuildContext
    from neobert.interfaces import Collator

_SHARE = and_(ge(0.0), le(1.0))


@frozen(kw_only=True)
class MaskedLM:
    """Masks random tokens for the loss to guess, as in BERT.

    Each token that is not special is selected with probability ``mlm_probability``; of those, shares become
    ``[MASK]``, a random token, or stay as they are (Devlin et al. 2018, section 3.1). At least one token a
    batch is selected.
    """

    batch_fields: ClassVar[tuple[str, ...]] = ("masked_positions", "labels")

    mlm_probability: float = field(
        default=0.2,
        validator=and_(gt(0.0), le(1.0)),
        metadata={"help": "share of tokens that the loss guesses"},
    )
    mask_all: bool = field(
        default=False, metadata={"help": "every selected token becomes [MASK], whatever the three shares say"}
    )
    mask_share: float = field(default=0.8, validator=_SHARE, metadata={"help": "of the selected: become [MASK]"})
    random_share: float = field(
        default=0.1,
        validator=_SHARE,
        metadata={"help": "of the selected: become a random token, never a special one"},
    )
    keep_share: float = field(default=0.1, validator=_SHARE, metadata={"help": "of the selected: stay as they are"})

    def check(self, recipe: Any) -> list[str]:
        """The three shares must sum to 1."""
        total = self.mask_share + self.random_share + self.keep_share
        if isclose(total, 1.0, abs_tol=1e-6):
            return []
        return [
            f"datacollator: mask_share + random_share + keep_share = {self.mask_share} + "
            f"{self.random_share} + "
            f"{self.keep_share} = {total:g}, must be 1"
        ]

    def build(self, context: BuildContext) -> Collator:
        """A `MaskedLMCollator` for the run's tokenizer."""
        from neobert_plugins.collators.mlm import MaskedLMCollator

        if problems := self.check(None):
            raise UserError(problems[0])
        return MaskedLMCollator.for_tokenizer(context.tokenizer, self)
