"""Every shipped recipe, checked and run a few steps: as it is where that is small enough, else made small.

    python -m tests.shipped FOLDER [RECIPE ...]

Runs go into FOLDER/runs. A recipe that starts from another's run comes after it.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECIPES = ROOT / "recipes"

_FEW = ("--trainer.max_steps=3", "--trainer.eval_max_batches=2", "--dataset.num_workers=0")
_SMALL_MODEL = (
    "--model.hidden_size=32",
    "--model.num_hidden_layers=2",
    "--model.num_attention_heads=2",
    "--model.intermediate_size=64",
    "--dataset.num_workers=0",
    "--dataset.max_seq_length=64",
    "--scheduler.warmup_steps=1",
    "--trainer.max_steps=2",
    "--trainer.per_device_train_batch_size=2",
    "--trainer.gradient_accumulation_steps=2",
    "--trainer.per_device_eval_batch_size=2",
    "--trainer.torch_compile=false",
)
_SMALL_TOKENIZER = ("--tokenizer", '{name = "train_wordpiece", vocab_size = 300}')
_SMALL_DATA = '{name = "files", path = "FOLDER/documents.jsonl"}'

PAIRS: dict[str, tuple[str, ...]] = {
    "all_nli": ("anchor", "positive", "negative"),
    "msmarco": ("query", "positive", "negative"),
    "gooaq": ("question", "answer"),
    "natural_questions": ("query", "answer"),
    "squad": ("question", "answer"),
    "eli5": ("question", "answer"),
    "trivia_qa": ("query", "answer"),
    "paq": ("query", "answer"),
    "pubmed_qa": ("pubid", "question", "context", "long_answer", "final_decision"),
    "fever": ("query", "positive", *(f"negative_{number}" for number in range(8))),
    "quora": ("anchor", "positive", "negative"),
    "stackexchange_titles": ("title1", "title2"),
    "stackexchange_posts": ("post1", "post2"),
    "wikihow": ("text", "summary"),
}
"""Public sets of pairs, by their names in neobert/contrastive_250m.toml -> the columns that they have on the hub."""

GLUE: dict[str, tuple[str, ...]] = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "mrpc": ("sentence1", "sentence2"),
    "stsb": ("sentence1", "sentence2"),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
    "rte": ("sentence1", "sentence2"),
    "wnli": ("sentence1", "sentence2"),
}
"""GLUE's tasks -> the columns of text that they have on the hub, beside ``label`` and ``idx``."""
GLUE_SPLITS = {"mnli": ("train", "validation_matched", "validation_mismatched", "test_matched", "test_mismatched")}
"""Where they are not train, validation and test."""
IN_PROCESS = tuple(f"neobert/glue/{name}.toml" for name in GLUE)
"""Many that are alike: tests/test_shipped.py has their columns, and runs one of each kind."""

OVERRIDES: dict[str, tuple[str, ...]] = {
    **{
        f"neobert/glue/{name}.toml": (
            "--model.hidden_size=32",
            "--model.num_hidden_layers=2",
            "--model.num_attention_heads=2",
            "--model.intermediate_size=64",
            "--model.weights=FOLDER/runs/neobert/stage1",
            "--tokenizer.path=FOLDER/runs/neobert/stage1",
            "--dataset.path=FOLDER/glue/" + name,
            "--dataset.config=none",
            "--dataset.max_seq_length=64",
            "--dataset.num_workers=0",
            "--scheduler.warmup_percent=0",
            "--trainer.max_steps=1",
            "--trainer.per_device_train_batch_size=8",
        )
        for name in GLUE
    },
    "pretrain.toml": _FEW,
    "long_context.toml": (
        *_FEW,
        "--model.weights=FOLDER/runs/pretrain",
        "--tokenizer.path=FOLDER/runs/pretrain",
    ),
    "contrastive.toml": (
        *_FEW,
        "--model.weights=FOLDER/runs/pretrain",
        "--tokenizer.path=FOLDER/runs/pretrain",
        "--dataset.sources.packages.roots=['numpy']",
        "--trainer.eval_train_candidates=20",
        "--trainer.per_device_train_batch_size=8",
    ),
    "neobert/stage1.toml": (
        *_SMALL_MODEL,
        *_SMALL_TOKENIZER,
        "--dataset",
        _SMALL_DATA,
        "--dataset.eval_samples=10",
        "--scheduler.decay_steps=1",
    ),
    "neobert/stage1_1b.toml": (
        *_SMALL_MODEL,
        *_SMALL_TOKENIZER,
        "--dataset",
        _SMALL_DATA,
        "--dataset.eval_samples=10",
        "--scheduler.decay_steps=1",
    ),
    "neobert/stage2_4096.toml": (
        *_SMALL_MODEL,
        "--model.weights=FOLDER/runs/neobert/stage1",
        "--tokenizer.path=FOLDER/runs/neobert/stage1",
        *(word for name in ("all", "long", "longer") for word in (f"--dataset.sources.{name}", _SMALL_DATA)),
        *(f"--dataset.select.{name}.eval_samples=10" for name in ("all", "long", "longer")),
        "--dataset.select.long.min_length=16",
        "--dataset.select.longer.min_length=32",
        "--trainer.eval_position_buckets=[16, 32]",
    ),
    "neobert/contrastive_250m.toml": (
        *_SMALL_MODEL,
        "--model.weights=FOLDER/runs/neobert/stage2_4096",
        "--tokenizer.path=FOLDER/runs/neobert/stage2_4096",
        *(
            word
            for name in PAIRS
            for word in (
                f"--dataset.sources.{name}",
                f'{{name = "files", path = "FOLDER/pairs/{name}.jsonl", eval_path = "FOLDER/pairs/{name}-dev.jsonl"}}'
                if name == "all_nli"
                else f'{{name = "files", path = "FOLDER/pairs/{name}.jsonl"}}',
            )
        ),
        *(f"--dataset.select.{name}.eval_samples=5" for name in PAIRS if name not in ("msmarco", "squad", "paq")),
        "--dataset.select.all_nli.eval_split=eval",
        "--loss.chunk_tokens=128",
        "--trainer.eval_train_candidates=20",
    ),
    "neobert/base_packed.toml": (
        *_SMALL_MODEL,
        *_SMALL_TOKENIZER,
        "--dataset",
        '{name = "files", path = "FOLDER/documents.jsonl", streaming = true, text_column = "content"}',
        "--dataset.eval_samples=10",
    ),
}
"""Recipe, relative to recipes/ -> what a few steps of it are run with. ``FOLDER`` is where runs and data go."""

_AS_SHIPPED = ("--model.weights=none", "--trainer.torch_compile=false")
"""What a recipe may need that is not there when it is checked as it is: another's run, a C++ compiler."""


def overrides(name: str, folder: Path) -> list[str]:
    """What the recipe is run with, its output folder too."""
    output = folder / "runs" / Path(name).with_suffix("")
    return [*(word.replace("FOLDER", str(folder)) for word in OVERRIDES[name]), f"--trainer.output_dir={output}"]


def write_documents(folder: Path) -> None:
    """A small corpus with documents of 5 to 120 words, in the column that the full-scale recipes read, and `PAIRS`."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdeilmnorst", k=rng.randint(2, 8))) for _ in range(200)]
    texts = (" ".join(rng.choices(words, k=rng.randint(5, 120))) for _ in range(120))
    (folder / "documents.jsonl").write_text("".join(json.dumps({"content": text}) + "\n" for text in texts))
    (folder / "pairs").mkdir(exist_ok=True)
    for name, columns in PAIRS.items():
        for file, count in ((f"{name}.jsonl", 120), (f"{name}-dev.jsonl", 20)):
            rows = ({column: _value(column, words, rng) for column in columns} for _ in range(count))
            (folder / "pairs" / file).write_text("".join(json.dumps(row) + "\n" for row in rows))


def glue_rows(name: str) -> dict[str, Any]:
    """A few rows of each split of one of GLUE's tasks: labels of test splits are -1."""
    from datasets import Dataset

    rng = random.Random(1)
    words = ["".join(rng.choices("abcdeilmnorst", k=rng.randint(2, 8))) for _ in range(100)]
    return {
        split: Dataset.from_list(
            [
                {column: _value(column, words, rng) for column in GLUE[name]}
                | {"label": _glue_label(name, split, number), "idx": number}
                for number in range(24)
            ]
        )
        for split in GLUE_SPLITS.get(name, ("train", "validation", "test"))
    }


def write_glue(folder: Path) -> None:
    """The same of all of them, as files that the hub's library opens."""
    for name in GLUE:
        place = folder / "glue" / name / "data"
        place.mkdir(parents=True, exist_ok=True)
        for split, rows in glue_rows(name).items():
            rows.to_json(place / f"{split}-00000-of-00001.jsonl")


def _glue_label(name: str, split: str, number: int) -> float:
    if split.startswith("test"):
        return -1.0 if name == "stsb" else -1
    return number % 11 / 2 if name == "stsb" else number % (3 if name == "mnli" else 2)


def _value(column: str, words: list[str], rng: random.Random) -> object:
    """As the column has it on the hub: PubMedQA has numbers and tables beside its texts."""
    text = " ".join(rng.choices(words, k=rng.randint(4, 40)))
    return {"pubid": rng.randrange(10**8), "context": {"contexts": [text], "labels": ["RESULTS"]}}.get(column, text)


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]).absolute()
    names = arguments[1:] or [name for name in OVERRIDES if name not in IN_PROCESS]
    folder.mkdir(parents=True, exist_ok=True)
    write_documents(folder)
    with ThreadPoolExecutor(max_workers=2) as pool:  # half of the time is start-up, on one core
        done = [pool.submit(_run_each, chain, folder) for chain in chains(names)]
    if failed := [name for future in done if (name := future.result())]:
        sys.exit(f"failed: {', '.join(failed)}")


def chains(names: list[str]) -> list[list[str]]:
    """The recipes in their order, together with that whose run they start from."""
    found: list[list[str]] = []
    for name in names:
        text = " ".join(OVERRIDES[name])
        before = (chain for chain in found if any(f"FOLDER/runs/{Path(one).with_suffix('')}" in text for one in chain))
        chain = next(before, None)
        if chain is None:
            found.append(chain := [])
        chain.append(name)
    return found


def _run_each(names: list[str], folder: Path) -> str | None:
    """The first that fails, after which none is run."""
    for name in names:
        recipe = str((RECIPES / name).relative_to(ROOT))
        words = overrides(name, folder)
        for command in ((recipe, "--check", *_AS_SHIPPED), (recipe, *words)):
            done = subprocess.run(_command(*command), cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"\n-- {recipe}: failed\n{done.stdout}\n{done.stderr}", flush=True)
                return name
        print(f"\n-- {recipe}\n{done.stdout}{done.stderr}", flush=True)
    return None


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "neobert.cli", *words]


if __name__ == "__main__":
    main(sys.argv[1:])
