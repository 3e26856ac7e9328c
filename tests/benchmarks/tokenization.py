"""Tokens a second of the core's tokenization beside `datasets.map` with the same tokenizer.

    python -m tests.benchmarks.tokenization [--megabytes 30] [--repeats 3] [--num-proc 2]

The corpus is text that every machine has: the standard library's sources, a paragraph a document (short ones) and a
file a document (long ones). Times are the best of the repeats, with the caches of both sides empty. Heavy
imports stand inside functions: processes that are spawned import this module again.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=30.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--num-proc", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEOBERT_CACHE"] = folder
        measure(arguments.megabytes, arguments.repeats, arguments.num_proc, Path(folder))


def measure(megabytes: float, repeats: int, num_proc: int, folder: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    tokenizer = make_tokenizer()
    print(f"{'documents':>22} {'way':<28} {'tokens/s':>12} {'seconds':>8}")
    for name, texts in corpora(megabytes).items():
        datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(folder / name))
        rows = datasets.load_from_disk(str(folder / name))
        tokens = 0
        ways = {
            "neobert, num_proc unset": partial(ours, rows, tokenizer, None),
            f"neobert, num_proc={num_proc}": partial(ours, rows, tokenizer, num_proc),
            "datasets.map": partial(mapped, rows, tokenizer, None),
            f"datasets.map, num_proc={num_proc}": partial(mapped, rows, tokenizer, num_proc),
        }
        seconds = dict.fromkeys(ways, float("inf"))
        for _ in range(repeats):  # in turns, so that what else the machine does hits all alike
            for way, work in ways.items():
                took, tokens = timed(work)
                seconds[way] = min(seconds[way], took)
        for way, took in seconds.items():
            print(f"{f'{name} ({len(texts):,})':>22} {way:<28} {tokens / took:>12,.0f} {took:>8.2f}")


def timed(work: Callable[[], int]) -> tuple[float, int]:
    began = perf_counter()
    tokens = work()
    return perf_counter() - began, tokens


def ours(rows: Any, tokenizer: Any, num_proc: int | None) -> int:
    """Into the cache folder, which is empty again afterwards."""
    import shutil

    from neobert.cache import cache_directory
    from neobert.data.tokenization import tokenize

    documents = tokenize(rows, tokenizer, num_proc=num_proc)
    tokens = int(documents.lengths.sum())
    shutil.rmtree(cache_directory("tokens"))
    return tokens


def mapped(rows: Any, tokenizer: Any, num_proc: int | None) -> int:
    import pyarrow.compute as pc

    def encode(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        encoded = tokenizer(batch["text"], add_special_tokens=False, return_attention_mask=False, verbose=False)
        return {"input_ids": encoded["input_ids"]}

    done = rows.map(encode, batched=True, remove_columns="text", num_proc=num_proc, load_from_cache_file=False)
    tokens = int(pc.sum(pc.list_value_length(done.data.column("input_ids"))).as_py())
    done.cleanup_cache_files()
    return tokens


def corpora(megabytes: float) -> dict[str, list[str]]:
    """``long`` documents, whole files, and ``short`` ones, their paragraphs."""
    from sysconfig import get_paths

    files: list[str] = []
    size = 0
    for path in sorted(Path(get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts or size >= megabytes * 1e6:
            continue
        text = path.read_text(encoding="utf-8", errors="ignore")
        files.append(text)
        size += len(text.encode())
    return {"long": files, "short": [part for text in files for part in text.split("\n\n") if part.strip()]}


def make_tokenizer() -> Any:
    """A WordPiece tokenizer like the recipe's default, trained on a stretch of the corpus."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=8192, special_tokens=names, show_progress=False)
    backend.train_from_iterator(corpora(3.0)["long"], trainer)
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(keys, names, strict=True)))


if __name__ == "__main__":
    main()
