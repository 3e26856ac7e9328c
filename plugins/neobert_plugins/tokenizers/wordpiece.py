"""A WordPiece vocabulary, trained the same way on every machine."""

from __future__ import annotations

import hashlib
import json
import logging
import unicodedata
from collections import Counter
from itertools import islice
from string import punctuation
from typing import TYPE_CHECKING, Any

from neobert.cache import build_once, cache_directory
from neobert.data.role_columns import holds_ids
from neobert.data.role_texts import role_texts
from neobert.data.texts import text_batches
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from neobert.roles import Roles
    from neobert_plugins.tokenizers.options import TrainWordPiece

logger = logging.getLogger("neobert.tokenizers")

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_ALPHABET = 1000
"""Different characters to keep, the most frequent; a word with another is [UNK]."""
_STREAM_DOCUMENTS = 100_000
_FORMAT = "1"


def train(rows: Any, options: TrainWordPiece, max_seq_length: int, roles: Roles | None = None) -> Any:
    """The tokenizer of a ``text`` column, or of all columns of text by role, trained unless the cache has it."""
    tokenized = "text" not in (rows.column_names or ["text"]) if roles is None else holds_ids(rows, roles)
    if tokenized:
        msg = "tokenizer train_wordpiece needs text, but the dataset holds token ids: name the tokenizer that made them"
        raise UserError(msg)
    key = _fingerprint(_texts(rows, options, roles), options)
    path = build_once(
        cache_directory("tokenizers") / f"wordpiece-{key}.json",
        lambda file: _train_into(file, rows, options, roles),
    )
    return _wrapped(path, options, max_seq_length)


def _train_into(file: Path, rows: Any, options: TrainWordPiece, roles: Roles | None) -> None:
    vocabulary = _vocabulary(lambda: _texts(rows, options, roles), options)
    file.write_text(_assemble(vocabulary, options).to_str(), encoding="utf-8")


def _texts(rows: Any, options: TrainWordPiece, roles: Roles | None) -> Iterator[str]:
    """The training text, document by document, read in batches."""
    limit = options.training_documents
    if limit is None and not hasattr(rows, "__len__"):
        limit = _STREAM_DOCUMENTS
    if roles is not None:
        return islice((text for text in role_texts(rows, roles) if text), limit)
    batches = text_batches(rows, "train") if hasattr(rows, "__len__") else _batches(rows)
    return islice((text for _, texts in batches for text in texts if text), limit)


def _batches(rows: Any) -> Iterator[tuple[int, list[str | None]]]:
    for number, batch in enumerate(rows.iter(batch_size=1000)):
        yield 1000 * number, batch["text"]


def _fingerprint(texts: Iterator[str], options: TrainWordPiece) -> str:
    about = [_FORMAT, options.vocab_size, options.lowercase, options.min_frequency]
    digest = hashlib.blake2b(json.dumps(about).encode(), digest_size=16)
    for text in texts:
        content = text.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _assemble(vocabulary: dict[str, int], options: TrainWordPiece) -> Any:
    """A BERT-style tokenizer: normaliser, words and punctuation, WordPiece, [CLS] text [SEP]."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=options.lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    if vocabulary:
        tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
        )
    return tokenizer


def _vocabulary(texts: Any, options: TrainWordPiece) -> dict[str, int]:
    """Token -> id: special tokens, characters, characters inside words, then joined pieces in turn.

    The trainer breaks ties by numbers that it gives to ``##x`` pieces as it meets them in a hash map, so two
    runs could differ. Naming those pieces beforehand, in a fixed order, gives them fixed numbers.
    """
    from tokenizers import trainers

    empty = _assemble({}, options)
    characters: Counter[str] = Counter()
    for text in texts():
        characters.update(empty.normalizer.normalize_str(text))
    frequent = sorted(
        (character for character in characters if not character.isspace()),
        key=lambda character: (-characters[character], character),
    )
    if not frequent:
        msg = "the training split has no text to train a tokenizer on: every document in it is empty"
        raise UserError(msg)
    room = min(_ALPHABET, (options.vocab_size - len(SPECIAL_TOKENS)) // 2)
    alphabet = sorted(frequent[:room])
    inside = [f"##{character}" for character in alphabet if not _is_punctuation(character)]
    fixed = [*SPECIAL_TOKENS, *alphabet, *inside]
    trainer = trainers.WordPieceTrainer(
        vocab_size=options.vocab_size,
        min_frequency=options.min_frequency,
        special_tokens=fixed,
        limit_alphabet=len(alphabet),
        initial_alphabet=alphabet,
        continuing_subword_prefix="##",
        show_progress=False,
    )
    empty.train_from_iterator(texts(), trainer)
    learned = empty.get_vocab(with_added_tokens=True)
    return {token: number for number, token in enumerate(sorted(learned, key=learned.__getitem__))}


def _is_punctuation(character: str) -> bool:
    """What the pre-tokenizer makes a word of its own, so that it never stands inside one."""
    return character in punctuation or unicodedata.category(character).startswith("P")


def _wrapped(path: Path, options: TrainWordPiece, max_seq_length: int) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_file(str(path))
    size = backend.get_vocab_size(with_added_tokens=True)
    if size < options.vocab_size:
        logger.warning(
            "the training text gives a vocabulary of %d tokens, fewer than tokenizer.vocab_size = %d",
            size,
            options.vocab_size,
        )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=max_seq_length,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        **dict(zip(names, SPECIAL_TOKENS, strict=True)),
    )
