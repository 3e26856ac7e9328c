"""The systems that `tests.benchmarks.throughput` compares; each runs in a process of its own and trains in turns.

    python -m tests.benchmarks.systems SYSTEM SETTINGS.json

A line on standard input lets it run the next steps; it answers with a line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

from attrs import frozen

SPECIAL = 2
STEPS = 1_000_000
"""More than any measurement takes: the schedule stays near its start."""


@frozen
class Shape:
    """The model and the batch of a comparison."""

    hidden_size: int = 384
    layers: int = 6
    heads: int = 6
    vocab_size: int = 16384
    batch: int = 8
    length: int = 512

    @property
    def feed_forward(self) -> int:
        """Inner width: a third less than 4 C, as a gated layer has three matrices."""
        return -(-int(8 * self.hidden_size / 3) // 8) * 8


class Gate:
    """Lets a training loop pass every so many steps, when the other process says so."""

    def __init__(self) -> None:
        self._began = 0.0
        self._amount = 0.0
        self._wait()

    def passed(self, amount: float) -> None:
        """``amount`` is what has been done since the start."""
        self._answer(amount=amount - self._amount, seconds=perf_counter() - self._began)
        self._amount = amount
        self._wait()

    def _wait(self) -> None:
        if sys.stdin.readline().strip() != "go":
            # On Linux in KiB.
            self._answer(peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
            sys.stdout.flush()
            os._exit(0)
        self._began = perf_counter()

    def _answer(self, **values: float) -> None:
        print(json.dumps(values), flush=True)


def prepare(shape: Shape, folder: Path, texts: list[str] | None = None) -> dict[str, float]:
    """Documents (unset: `documents`) as JSON lines and a tokenizer beside them; what their lengths are."""
    import numpy as np
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertTokenizerFast

    texts = texts or documents()
    with (folder / "documents.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    trained = BertWordPieceTokenizer()
    trained.train_from_iterator(texts, vocab_size=shape.vocab_size, show_progress=False)
    tokenizer = BertTokenizerFast(tokenizer_object=trained._tokenizer)
    tokenizer.save_pretrained(folder / "tokenizer")
    lengths = np.array([len(e.ids) for e in trained._tokenizer.encode_batch(texts)])
    sequences = np.minimum(lengths, shape.length)
    return {
        "count": len(texts),
        "median": float(np.median(lengths)),
        "mean": float(lengths.mean()),
        "seen": float((sequences.astype(float) ** 2).sum() / sequences.sum()),
    }


def documents() -> list[str]:
    """Functions and classes of the standard library and its help topics: 20 words and more each."""
    import ast
    import pydoc_data.topics
    import sysconfig

    found = list(pydoc_data.topics.topics.values())
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        source = path.read_text(encoding="utf-8", errors="replace")
        nodes = ast.parse(source).body
        wanted = (ast.FunctionDef, ast.ClassDef)
        found += [ast.get_source_segment(source, node) or "" for node in nodes if isinstance(node, wanted)]
    return [text for text in found if len(text.split()) >= 20]


def neobert(settings: dict[str, Any], shape: Shape) -> None:
    """`neobert-run` on a recipe: the same call, with a tracker that lets the loop pass."""
    from neobert.recipe import load_recipe
    from neobert.training import run as running

    class Tracker:
        """As any other that a recipe names; the run starts when it is built."""

        def __init__(self) -> None:
            self._gate = Gate()

        def log(self, metrics: dict[str, float], step: int) -> None:
            self._gate.passed(metrics["train/tokens_seen"])

        def close(self) -> None: ...

    build = running.build_trackers
    running.build_trackers = lambda recipe, context: [*build(recipe, context), Tracker()]
    folder = Path(settings["folder"])
    (folder / "recipe.toml").write_text(RECIPE)
    keys = {
        "model.hidden_size": shape.hidden_size,
        "model.num_hidden_layers": shape.layers,
        "model.num_attention_heads": shape.heads,
        "model.feed_forward_size": shape.feed_forward,
        "model.max_position_embeddings": shape.length,
        "tokenizer.path": str(folder / "tokenizer"),
        "dataset.path": str(folder / "documents.jsonl"),
        "dataset.max_seq_length": shape.length,
        "trainer.output_dir": str(folder / settings.get("run", "run")),
        "trainer.per_device_train_batch_size": shape.batch,
        "trainer.max_steps": STEPS,
        "trainer.logging_steps": settings["steps"],
        "trainer.mixed_precision": settings["precision"],
    }
    overrides = [f"--{key}={value}" for key, value in keys.items()] + [f"--{key}" for key in settings["keys"]]
    running.run(load_recipe(folder / "recipe.toml", overrides))


RECIPE = """
[model]
hidden_size = 384
[tokenizer]
name = "pretrained"
path = "tokenizer"
[dataset]
name = "files"
path = "documents.jsonl"
[datacollator]
mlm_probability = 0.2
pack_sequences = true
overflow = "truncate"       # as the others do
[optimizer]
name = "adamw"
lr = 1e-4
[scheduler]
name = "cosine"
[trainer]
gradient_clipping = 1.0
"""


def transformers(settings: dict[str, Any], shape: Shape, *, glued: bool) -> None:
    """Its Trainer with EuroBERT: documents padded to the longest of a batch, or glued into rows without padding."""
    from transformers import AutoTokenizer, DataCollatorForLanguageModeling, Trainer, TrainerCallback

    folder = Path(settings["folder"])
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    masking = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.2)
    tokens = 0

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        nonlocal tokens
        batch = masking(rows)
        tokens += int(batch["attention_mask"].sum())
        return dict(batch)

    class Turns(TrainerCallback):  # type: ignore[misc]
        gate: Gate

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.gate = Gate()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step % settings["steps"] == 0:
                self.gate.passed(tokens)

    trainer = Trainer(
        model=eurobert(tokenizer, shape),
        args=training_arguments(settings, shape),
        train_dataset=rows_of(tokenizer, folder, shape.length, glued=glued),
        data_collator=collate,
        callbacks=[Turns()],
    )
    sys.stdout = sys.stderr
    Gate._answer = lambda self, **values: print(json.dumps(values), file=sys.__stdout__, flush=True)
    trainer.train()


def eurobert(tokenizer: Any, shape: Shape) -> Any:
    """Of the same dimensions, with the same rounding of the vocabulary."""
    from transformers import EuroBertConfig, EuroBertForMaskedLM

    config = EuroBertConfig(
        vocab_size=-(-len(tokenizer) // 128) * 128,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=shape.length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    return EuroBertForMaskedLM(config)


def training_arguments(settings: dict[str, Any], shape: Shape) -> Any:
    """As the recipe has them: optimizer, schedule, clipping, logging."""
    import torch
    from transformers import TrainingArguments

    return TrainingArguments(
        output_dir=str(Path(settings["folder"]) / "trainer"),
        per_device_train_batch_size=shape.batch,
        max_steps=STEPS,
        learning_rate=1e-4,
        weight_decay=0.1,
        adam_beta2=0.95,
        lr_scheduler_type="cosine",
        max_grad_norm=1.0,
        logging_steps=settings["steps"],
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        bf16=settings["precision"] == "bf16",
        disable_tqdm=True,
    )


def rows_of(tokenizer: Any, folder: Path, length: int, *, glued: bool) -> Any:
    """Documents cut to ``length``; glued: all of them end to end, in rows of ``length``."""
    import datasets

    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(folder / "documents.jsonl"), split="train")
    limit = {} if glued else {"truncation": True, "max_length": length}
    rows = rows.map(lambda batch: tokenizer(batch["text"], **limit), batched=True, remove_columns=["text"])
    if not glued:
        return rows

    def glue(batch: dict[str, list[list[int]]]) -> dict[str, list[list[int]]]:
        whole = {name: list(chain.from_iterable(values)) for name, values in batch.items()}
        ends = range(length, len(whole["input_ids"]) + 1, length)
        return {name: [values[end - length : end] for end in ends] for name, values in whole.items()}

    return rows.map(glue, batched=True)


def matrix_product(seconds: float = 0.5, size: int = 2048) -> None:
    """Products of square fp32 matrices, and nothing else."""
    import torch

    a, b, out = (torch.randn(size, size) for _ in range(3))
    done = 0.0
    gate = Gate()
    while True:
        end = perf_counter() + seconds
        while perf_counter() < end:
            torch.mm(a, b, out=out)
            done += 2.0 * size**3
        gate.passed(done)


def main() -> None:
    system, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    shape = Shape(**{name: settings[name] for name in Shape.__annotations__})
    os.environ["NEOBERT_CACHE"] = os.environ["HF_HOME"] = str(Path(settings["folder"]) / "cache")
    if system == "matrix product":
        matrix_product()
    elif system == "neobert":
        neobert(settings, shape)
    else:
        transformers(settings, shape, glued=system.endswith("glued"))


if __name__ == "__main__":
    main()
