"""The systems that `tests.benchmarks.contrastive` compares; each runs in a process of its own and trains in turns.

    python -m tests.benchmarks.contrastive_systems SYSTEM SETTINGS.json

A line on standard input lets it run the next steps; it answers with a line of JSON.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.benchmarks.systems import Gate

LARGER = 4
"""Times the batch, with chunks."""
STEPS = 1_000_000
"""More than any measurement takes: the schedule stays near its start."""
RECIPE = """
[tokenizer]
name = "train_wordpiece"
vocab_size = 8192
[dataset]
name = "files"
path = "pairs.jsonl"
[datacollator]
name = "pairs"
[loss]
name = "info_nce"
temperature = 0.05
[optimizer]
name = "adamw"
lr = 5e-5
weight_decay = 0.0
betas = [0.9, 0.999]
[scheduler]
name = "constant"
[trainer]
gradient_clipping = 1.0
"""


def prepare(settings: dict[str, Any]) -> dict[str, float]:
    """Pairs as JSON lines, and the encoder that all begin with: what one step of a recipe exports."""
    from rich.console import Console
    from transformers import AutoTokenizer

    from neobert.recipe import load_recipe
    from neobert.training.run import run

    folder = Path(settings["folder"])
    os.environ["NEOBERT_CACHE"] = str(folder / "cache")
    found = list(pairs())
    with (folder / "pairs.jsonl").open("w") as file:
        file.writelines(json.dumps({"query": query, "positive": positive}) + "\n" for query, positive in found)
    (folder / "recipe.toml").write_text(RECIPE)
    keys = keys_of(settings) | {"trainer.max_steps": 1, "trainer.output_dir": str(folder / "encoder")}
    with (folder / "log.txt").open("w") as log:
        run(load_recipe(folder / "recipe.toml", [f"--{key}={value}" for key, value in keys.items()]), Console(file=log))
    tokenizer = AutoTokenizer.from_pretrained(encoder(settings))
    length = settings["length"]
    lengths = [
        [min(length, len(ids)) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
        for texts in zip(*found, strict=True)
    ]
    query, positive = (sum(column) / len(column) for column in lengths)
    return {"pairs": len(found), "query": query, "positive": positive}


def pairs() -> Iterator[tuple[str, str]]:
    """Functions of the standard library: what their docstring begins with, and their source without it."""
    seen = set()
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts:
            continue
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
            if text is None or len(node.body) < 2 or text in seen:
                continue
            seen.add(text)
            node.body = node.body[1:]
            yield text.split("\n\n")[0], ast.unparse(node)


def keys_of(settings: dict[str, Any]) -> dict[str, Any]:
    """What ours are told of model, data and output."""
    folder = Path(settings["folder"])
    return {
        "model.hidden_size": settings["hidden_size"],
        "model.num_hidden_layers": settings["layers"],
        "model.num_attention_heads": settings["hidden_size"] // 64,
        "model.intermediate_size": 4 * settings["hidden_size"],
        "model.max_position_embeddings": settings["length"],
        "dataset.path": str(folder / "pairs.jsonl"),
        "dataset.max_seq_length": settings["length"],
        "trainer.per_device_train_batch_size": settings["batch"],
    }


def encoder(settings: dict[str, Any]) -> Path:
    """The export that all begin with."""
    return Path(settings["folder"]) / "encoder" / "model_checkpoints" / "1"


def neobert(settings: dict[str, Any], *, chunked: bool) -> None:
    """`neobert-run` on a recipe: the same call, with a tracker that lets the loop pass."""
    from neobert.recipe import load_recipe
    from neobert.training import run as running

    batch, steps = sizes(settings, large=chunked)

    class Tracker:
        """As any other that a recipe names; the run starts when it is built."""

        def __init__(self) -> None:
            self._gate = Gate()

        def log(self, metrics: dict[str, float], step: int) -> None:
            self._gate.passed(step * batch)

        def close(self) -> None: ...

    build = running.build_trackers
    running.build_trackers = lambda recipe, context: [*build(recipe, context), Tracker()]
    folder = Path(settings["folder"])
    keys = keys_of(settings) | {
        "model.weights": str(encoder(settings)),
        "tokenizer": "pretrained",
        "tokenizer.path": str(encoder(settings)),
        "trainer.per_device_train_batch_size": batch,
        "trainer.output_dir": str(folder / f"run-{batch}"),
        "trainer.max_steps": STEPS,
        "trainer.logging_steps": steps,
    }
    if chunked:
        keys["loss.chunk_tokens"] = settings["batch"] * settings["length"]
    overrides = [f"--{key}={value}" for key, value in keys.items()] + [f"--{key}" for key in settings["keys"]]
    running.run(load_recipe(folder / "recipe.toml", overrides))


def sentence_transformers(settings: dict[str, Any], *, cached: bool) -> None:
    """Its trainer, as the recipe has it; texts padded to the longest of a column of a batch."""
    import datasets
    import torch
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses
    from transformers import TrainerCallback

    batch, steps = sizes(settings, large=cached)
    folder = Path(settings["folder"])
    model = SentenceTransformer(str(encoder(settings)), local_files_only=True)
    if cached:
        loss = losses.CachedMultipleNegativesRankingLoss(model, scale=20.0, mini_batch_size=settings["batch"])
    else:
        loss = losses.MultipleNegativesRankingLoss(model, scale=20.0)
    datasets.disable_progress_bars()
    rows = datasets.load_dataset("json", data_files=str(folder / "pairs.jsonl"), split="train")

    class Turns(TrainerCallback):  # type: ignore[misc]
        gate: Gate

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.gate = Gate()

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step % steps == 0:
                self.gate.passed(state.global_step * batch)

    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / f"trainer-{batch}"),
        per_device_train_batch_size=batch,
        max_steps=STEPS,
        learning_rate=5e-5,
        lr_scheduler_type="constant",
        max_grad_norm=1.0,
        logging_steps=steps,
        save_strategy="no",
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
        dataloader_drop_last=True,
    )
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=rows, loss=loss, callbacks=[Turns()])
    sys.stdout = sys.stderr
    Gate._answer = lambda self, **values: print(json.dumps(values), file=sys.__stdout__, flush=True)
    trainer.train()


def sizes(settings: dict[str, Any], *, large: bool) -> tuple[int, int]:
    """Pairs a step, and steps a turn."""
    if not large:
        return settings["batch"], settings["steps"]
    return LARGER * settings["batch"], max(1, settings["steps"] // LARGER)


SYSTEMS: dict[str, Callable[[dict[str, Any]], None]] = {
    "neobert": partial(neobert, chunked=False),
    "sentence-transformers": partial(sentence_transformers, cached=False),
    "neobert, chunked": partial(neobert, chunked=True),
    "sentence-transformers, cached": partial(sentence_transformers, cached=True),
}


def main() -> None:
    system, settings = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    os.environ["NEOBERT_CACHE"] = os.environ["HF_HOME"] = str(Path(settings["folder"]) / "cache")
    SYSTEMS[system](settings)


if __name__ == "__main__":
    main()
