"""Options of the built-in tokenizers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import ge, optional

if TYPE_CHECKING:
    from neobert.context import BuildContext

_PAD_HELP = "round the model's vocabulary up to a multiple of this; the rows beyond the tokens are never used"


@frozen(kw_only=True)
class TrainWordPiece:
    """Trains a WordPiece vocabulary on the training split, once; kept in the cache."""

    vocab_size: int = field(
        default=16384,
        validator=ge(6),
        metadata={"help": "tokens to have at most, the five special ones included"},
    )
    lowercase: bool = field(default=True, metadata={"help": "lower-case the text and strip its accents"})
    min_frequency: int = field(
        default=2, validator=ge(1), metadata={"help": "times a pair of pieces must occur to be joined"}
    )
    training_documents: int | None = field(
        default=None,
        validator=optional(ge(1)),
        metadata={
            "help": "train on the first so many documents, or texts of examples; unset: all, or 100,000 of a stream"
        },
    )
    pad_vocab_to_multiple_of: int = field(default=128, validator=ge(1), metadata={"help": _PAD_HELP})

    def build(self, context: BuildContext) -> Any:
        """A ``PreTrainedTokenizerFast`` with [PAD] [UNK] [CLS] [SEP] [MASK] as ids 0 to 4."""
        from neobert_plugins.tokenizers.wordpiece import train

        return train(context.dataset["train"], self, context.max_seq_length, context.roles)


@frozen(kw_only=True)
class Pretrained:
    """A tokenizer from a run, a local folder or the Hugging Face hub."""

    path: str = field(
        metadata={
            "help": "local folder (never touches the network), of a tokenizer, a run, a checkpoint or an export; or a "
            "hub name",
            "path": "if_exists",
        }
    )
    revision: str | None = field(default=None, metadata={"help": "branch, tag or commit on the hub; unset: main"})
    trust_remote_code: bool = field(
        default=False, metadata={"help": "run Python code that the tokenizer's repository brings"}
    )
    allow_special_token_rewrite: bool = field(
        default=False, metadata={"help": "give it a mask or pad token where it has none"}
    )
    pad_vocab_to_multiple_of: int = field(default=128, validator=ge(1), metadata={"help": _PAD_HELP})

    def build(self, context: BuildContext) -> Any:
        """A ``PreTrainedTokenizerFast`` with a mask and a pad token, truncation and padding off."""
        from neobert_plugins.tokenizers.pretrained import load

        return load(self)

    def known_tokenizer(self) -> Any | None:
        """The same where it is here to be read, without the network; what ``--check`` compares weights with."""
        from neobert_plugins.tokenizers.pretrained import load

        return load(self) if Path(self.path).expanduser().is_dir() else None

    def known_vocab_size(self) -> int | None:
        """Its number of tokens, where it is here to be read; what ``--check`` counts parameters with."""
        tokenizer = self.known_tokenizer()
        return None if tokenizer is None else len(tokenizer)
