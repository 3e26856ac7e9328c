"""Tokenizers: text to token ids."""

from __future__ import annotations

from neobert import hookimpl
from neobert_plugins.tokenizers.options import Pretrained, TrainWordPiece


@hookimpl
def neobert_tokenizers() -> dict[str, type]:
    """The built-in tokenizers."""
    return {"pretrained": Pretrained, "train_wordpiece": TrainWordPiece}
