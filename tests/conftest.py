"""What tests of several places share: one thread a process, and a tiny recipe on a tiny corpus.

Several test processes share the cores, and spinning threads would only slow each other.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import io
import random
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version
from rich.console import Console

RECIPE = """
trackers = ["jsonl"]

[model]
hidden_size = 32
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 64
max_position_embeddings = 64
dropout_prob = 0.1

[tokenizer]
vocab_size = 300

[dataset]
name = "files"
path = "corpus.txt"
max_seq_length = 32
eval_samples = 8

[datacollator]
pack_sequences = true
packing_window = 64

[optimizer]
name = "muon"

[scheduler]
name = "constant"
warmup_steps = 2

[trainer]
output_dir = "run"
max_steps = 6
per_device_train_batch_size = 4
per_device_eval_batch_size = 4
gradient_accumulation_steps = 2
gradient_clipping = 1.0
logging_steps = 2
num_threads = 1
use_cpu = true
"""
_OBJECTIVES = """
[objectives.mlm]
probability = 0.4
datacollator = { name = "mlm", pack_sequences = true, packing_window = 64 }
dataset = { name = "files", path = "corpus.txt", max_seq_length = 32, eval_samples = 8 }

[objectives.pairs]
probability = 0.6
datacollator = "pairs"
loss = { name = "info_nce", $keys }
dataset = { name = "files", path = "pairs.jsonl", max_seq_length = 24, eval_samples = 8 }
"""
WORDS = [
    "the",
    "list",
    "of",
    "all",
    "items",
    "is",
    "returned",
    "when",
    "a",
    "key",
    "in",
    "its",
    "map",
    "has",
    "no",
    "value",
    "or",
    "none",
    "was",
    "set",
    "before",
]

Run = Callable[..., tuple[int, str]]
NEEDS_ULTRABERT = pytest.mark.skipif(
    Version(version("transformers")) < Version("5.20"),
    reason="blocks with a window are native from transformers 5.20 on",
)


@pytest.fixture(autouse=True)
def _usual_products() -> Iterator[None]:
    """What a run chose for its process is not what the next test begins with."""
    yield
    if (products := sys.modules.get("neobert.products")) is not None:
        products.choose_library("torch")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def workdir(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with ``recipe.toml`` and ``corpus.txt`` (120 short documents)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEOBERT_CACHE", str(cache))
    write_workdir(tmp_path)
    return tmp_path


def write_workdir(folder: Path) -> None:
    """``recipe.toml`` and ``corpus.txt`` (120 short documents)."""
    rng = random.Random(0)
    lines = (" ".join(rng.choices(WORDS, k=rng.randint(2, 40))) for _ in range(120))
    (folder / "corpus.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "recipe.toml").write_text(RECIPE, encoding="utf-8")


def objectives_recipe(keys: str) -> str:
    """`RECIPE` with two objectives, masked tokens and pairs, whose loss has these keys; the usual seed gives steps of
    both among the first six. It wants ``pairs.jsonl`` with queries and positives."""
    kept = [table for table in RECIPE.split("\n[") if not table.startswith(("dataset]", "datacollator]"))]
    return "\n[".join(kept) + _OBJECTIVES.replace("$keys", keys)


@pytest.fixture
def go(workdir: Path) -> Run:
    """``go("--trainer.max_steps=3", ...)`` runs the recipe: (exit status, what was printed)."""

    from neobert.recipe import load_recipe
    from neobert.training.run import run

    def start(*overrides: str) -> tuple[int, str]:
        text = io.StringIO()
        status = run(load_recipe(Path("recipe.toml"), overrides), Console(file=text, width=200))
        return status, text.getvalue()

    return start
