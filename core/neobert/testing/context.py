"""What the suites build parts with: a context, a tokenizer made in memory, and documents."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attrs import evolve

from neobert.context import BuildContext
from neobert.deprecation import deprecated_members
from neobert.parts import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_TEXT = """
the a of and to in is was for on as with by at from it an be this that are or his he not have had
but one all were they you we her she there been their has more who will no if out so can what said
up about into than them only other time new some could these two may then do first any my now such
like our over man me even most made after also well back through years where much your way down
should because long each just state people those mr too between here must still world own good
before day life us both same
"""
WORDS = tuple(_TEXT.split())
"""The words of the tokenizer that the suites use."""
SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
LENGTHS = (5, 1, 12, 3, 1, 9)
"""Sequence lengths that most checks use: short, long, and two of one token."""


def make_context(run_directory: Path | str | None = None, **changes: Any) -> BuildContext:
    """A `BuildContext` for tests, on the CPU, with seed 0, sequences of 32 tokens and 100 steps.

    ``changes`` are its fields: ``encoder=...`` and so on. Without ``run_directory`` it names a folder that
    does not exist.
    """
    fields: dict[str, Any] = {
        "seed": 0,
        "device": torch.device("cpu"),
        "run_directory": Path(run_directory or Path(tempfile.gettempdir()) / "neobert-no-such-run"),
        "max_seq_length": 32,
        "max_steps": 100,
    }
    return BuildContext(**{**fields, **changes})


def text_context(run_directory: Path | str | None = None, **changes: Any) -> BuildContext:
    """The same as parts see it once dataset and tokenizer are built."""
    from datasets import Dataset

    tokenizer = make_tokenizer()
    rows = {"train": Dataset.from_dict({"text": make_texts()})}
    built = {"dataset": rows, "tokenizer": tokenizer, "vocab_size": len(tokenizer)}
    return make_context(run_directory, **{**built, **changes})


def late_context(run_directory: Path | str | None = None, **changes: Any) -> BuildContext:
    """The same as parts see it that are built after encoder and loss."""
    from neobert.testing.encoder import TinyEncoder
    from neobert.training.groups import group_parameters

    context = text_context(run_directory, **changes)
    encoder = TinyEncoder(context.vocab_size, dtype=torch.float32)
    head = torch.nn.Linear(encoder.hidden_size, context.vocab_size)
    return evolve(context, encoder=encoder, parameter_groups=group_parameters(encoder, head))


@contextmanager
def temporary_context(make: Callable[..., BuildContext] = make_context, **changes: Any) -> Iterator[BuildContext]:
    """What ``make`` gives, with a run directory that is there while it is used."""
    with tempfile.TemporaryDirectory() as directory:
        yield make(directory, **changes)


def make_tokenizer() -> Any:
    """A ``PreTrainedTokenizerFast`` of lower-case English words; ids 0 to 4 are the special tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokens = [*SPECIAL_TOKENS.values(), *WORDS]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    cls, sep = SPECIAL_TOKENS["cls_token"], SPECIAL_TOKENS["sep_token"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B {sep}",
        special_tokens=[(cls, vocabulary[cls]), (sep, vocabulary[sep])],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL_TOKENS)


def make_sequences(lengths: tuple[int, ...] = LENGTHS, seed: int = 0) -> list[torch.Tensor]:
    """Token ids (length,) int64 for each, with [CLS] and [SEP] where there is room for them."""
    rng = np.random.default_rng(seed)
    first_word = len(SPECIAL_TOKENS)
    sequences = []
    for length in lengths:
        ids = rng.integers(first_word, first_word + len(WORDS), size=length)
        if length >= 3:
            ids[0], ids[-1] = 2, 3
        sequences.append(torch.from_numpy(ids))
    return sequences


def per_sequence(stream: torch.Tensor, lengths: Sequence[int]) -> list[torch.Tensor]:
    """A tensor whose first dimension is the stream's, cut into the sequences'."""
    return list(torch.split(stream, list(lengths)))


def make_texts(count: int = 200, seed: int = 0) -> list[str]:
    """Documents of 3 to 40 of the tokenizer's words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=rng.integers(3, 41))) for _ in range(count)]


def as_options(options: Any) -> Any:
    """An options instance; a class is taken with all its defaults."""
    return options() if isinstance(options, type) else options


def build(kind: str, options: Any, context: BuildContext) -> Any:
    """The runtime object, built as the core builds it; what its options have that is to go is warned of."""
    for deprecated in deprecated_members(kind, type(options)):
        deprecated.warn()
    return Part(kind=kind, name=type(options).__name__, options=options).build(context)
