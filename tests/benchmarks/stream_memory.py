"""Resident memory while a stream is tokenized, packed and collated: it has to stay flat.

    python -m tests.benchmarks.stream_memory [--tokens 10000000] [--window 16384]

The corpus is written to a temporary folder as JSON lines, in several files, and streamed by the dataset `files`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import torch
from attrs import frozen
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neobert.context import BuildContext
from neobert.data.build import corpus_of
from neobert.data.collate import CollatorRecipe
from neobert.data.columns import prepare_columns
from neobert.data.corpus import Corpus
from neobert.data.sequences import SpecialTokens
from neobert.data.training_data import StepOptions, TrainingData
from neobert.parts import Part
from neobert.served import CollatorKeys, DatasetKeys
from neobert_plugins.collators.options import MaskedLM
from neobert_plugins.datasets.options import Files

WORDS = [f"w{number}" for number in range(2000)]
FILES = 8
SAMPLES = 20
MAX_LENGTH = 512


@frozen
class Sample:
    """Once so many tokens were trained on."""

    tokens: int
    megabytes: float
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--window", type=int, default=CollatorKeys().packing_window)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEOBERT_CACHE"] = folder
        write_corpus(Path(folder, "rows"), arguments.tokens)
        for sample in measure(Path(folder, "rows"), arguments.tokens, arguments.window):
            print(f"{sample.tokens:>12,} tokens  {sample.megabytes:>8.1f} MB  {sample.seconds:>6.1f} s", flush=True)


def write_corpus(folder: Path, tokens: int) -> None:
    """Documents of 20 to 400 words, together about so many tokens."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    for number in range(FILES):
        written = 0
        with (folder / f"{number}.jsonl").open("w", encoding="utf-8") as rows:
            while written < tokens // FILES:
                words = rng.choices(WORDS, k=rng.randint(20, 400))
                written += len(words)
                rows.write(json.dumps({"text": " ".join(words)}) + "\n")


def measure(folder: Path, tokens: int, window: int) -> Iterator[Sample]:
    """Samples while the stream is trained on once, without a model."""
    data = stream_data(folder, window)
    began, seen, due = perf_counter(), 0, 0
    for step in data.steps(data.start(), 0):
        seen += sum(micro.batch.num_tokens for micro in step.micro_batches)
        if seen >= due:
            yield Sample(seen, resident_megabytes(), perf_counter() - began)
            due += tokens // SAMPLES
        if seen >= tokens:
            break
    data.close()


def stream_data(folder: Path, window: int) -> TrainingData:
    tokenizer = word_tokenizer()
    keys = CollatorKeys(pack_sequences=True, packing_window=window)
    context = context_of(tokenizer, folder)
    rows = prepare_columns(Files(path=str(folder), streaming=True).build(context)["train"], "text", label="rows")
    corpus = corpus_of(rows, tokenizer, DatasetKeys(max_seq_length=MAX_LENGTH), keys)
    return training_data(corpus, tokenizer, folder, keys)


def training_data(corpus: Corpus, tokenizer: PreTrainedTokenizerFast, folder: Path, keys: CollatorKeys) -> TrainingData:
    """A corpus as a run has it: masked, packed, on the CPU."""
    return TrainingData(
        corpus=corpus,
        special=SpecialTokens.of(tokenizer),
        collator=CollatorRecipe(
            Part(kind="datacollator", name="mlm", options=MaskedLM()), context_of(tokenizer, folder)
        ),
        dataset_keys=DatasetKeys(max_seq_length=MAX_LENGTH),
        collator_keys=keys,
        options=StepOptions(per_device_train_batch_size=8),
    )


def context_of(tokenizer: PreTrainedTokenizerFast, folder: Path) -> BuildContext:
    return BuildContext(
        seed=1,
        device=torch.device("cpu"),
        run_directory=folder,
        max_seq_length=MAX_LENGTH,
        max_steps=1,
        tokenizer=tokenizer,
        vocab_size=len(tokenizer),
    )


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A token a word, [CLS] and [SEP] around them."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordLevel({name: n for n, name in enumerate(names + WORDS)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(keys, names, strict=True)))


def resident_megabytes() -> float:
    """Of this process, its threads included; there are no other processes."""
    import psutil

    return float(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
