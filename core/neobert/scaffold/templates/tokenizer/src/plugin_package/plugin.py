"""Options and hook. Imported whenever plugins are listed, so tokenizers are imported in `build` alone."""

from __future__ import annotations

from typing import Any

from attrs import field, frozen
from attrs.validators import ge
from neobert import BuildContext, hookimpl


@frozen(kw_only=True)
class PluginOptions:
    """A token for each byte of a text: nothing to train, and no text that it does not know.

    As in ByT5 (arXiv:2105.13626). The five special tokens are ids 0 to 4, a byte's id is 5 and more.
    """

    lowercase: bool = field(default=False, metadata={"help": "lower-case the text first"})
    pad_vocab_to_multiple_of: int = field(
        default=8, validator=ge(1), metadata={"help": "round the model's vocabulary up to a multiple of this"}
    )

    def known_vocab_size(self) -> int:
        """Known without work, so `--check` counts all parameters."""
        return 5 + 256

    def build(self, context: BuildContext) -> Any:
        """A ``PreTrainedTokenizerFast``."""
        from .byte_tokens import make_tokenizer

        return make_tokenizer(lowercase=self.lowercase, max_length=context.max_seq_length)


@hookimpl
def neobert_tokenizers() -> dict[str, type]:
    return {"plugin_name": PluginOptions}
