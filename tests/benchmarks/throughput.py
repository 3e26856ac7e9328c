"""Tokens a second of a recipe's own training loop beside transformers' Trainer with a model of the same size.

    python -m tests.benchmarks.throughput [--rounds 5] [--steps 4] [--system NAME ...] [--key trainer.x=y ...]
    python -m tests.benchmarks.throughput --large          # 28 x 768 x 12, a vocabulary of 30,522, 4,096 tokens a step

Every system trains on the same documents with the same tokenizer, batch, masking share, optimizer, clipping and
logging, each in a process of its own. They take turns of a few steps, so that what else the machine does hits all
alike; a ratio is the median over rounds of the ratio within a round. Only tokens with content count. The rate of bare
matrix products is measured in turns too.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from attrs import asdict, evolve
from tests.benchmarks.systems import Shape, prepare

OURS, PADDED, GLUED, PRODUCT = "neobert", "transformers padded", "transformers glued", "matrix product"
SYSTEMS = (OURS, PADDED, GLUED, PRODUCT)
SMALL = Shape()
LARGE = Shape(hidden_size=768, layers=28, heads=12, vocab_size=30522)
SHARE_MASKED = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a turn")
    parser.add_argument("--large", action="store_true", help="a NeoBERT of 250 million parameters")
    parser.add_argument("--precision", choices=("no", "bf16"), default="no", help="of all systems")
    parser.add_argument("--length", type=int, default=512, help="tokens of a row; the batch keeps 4,096 tokens")
    parser.add_argument("--system", action="append", choices=SYSTEMS, help="repeat for several; unset: all")
    parser.add_argument("--key", action="append", default=[], help="a recipe key of ours: trainer.torch_compile=true")
    arguments = parser.parse_args()
    shape = LARGE if arguments.large else SMALL
    shape = evolve(shape, length=arguments.length, batch=4096 // arguments.length)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = asdict(shape) | {
            "steps": arguments.steps,
            "precision": arguments.precision,
            "keys": arguments.key,
            "folder": name,
        }
        documents = prepare(shape, folder)
        turns, peaks = take_turns(arguments.system or list(SYSTEMS), settings, arguments.rounds, folder)
    show(shape, turns, peaks, documents)


def take_turns(
    systems: list[str], settings: dict[str, Any], rounds: int, folder: Path
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """The rate of each system in each round, and its peak memory in bytes."""
    file = folder / "settings.json"
    file.write_text(json.dumps(settings))
    children = {name: start(name, file) for name in systems}
    for name, child in children.items():
        ask(name, child)  # warming up: caches, threads, compilation
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, child in children.items():
            answer = ask(name, child)
            rates[name].append(answer["amount"] / answer["seconds"])
    return rates, {name: int(ask(name, child, "end")["peak"]) for name, child in children.items()}


def start(system: str, settings: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.systems", system, str(settings)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(name: str, child: subprocess.Popen[str], word: str = "go") -> dict[str, float]:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(word + "\n")
    child.stdin.flush()
    for line in child.stdout:
        if line.startswith("{"):
            answer: dict[str, float] = json.loads(line)
            return answer
    raise SystemExit(f"{name} ended with status {child.wait()}")


def show(shape: Shape, rates: dict[str, list[float]], peaks: dict[str, int], documents: dict[str, float]) -> None:
    libraries = ("torch", "transformers", "datasets", "accelerate")
    print(", ".join(f"{name} {version(name)}" for name in libraries), "- Python", platform.python_version())
    print(
        f"{shape.layers} layers, {shape.hidden_size} wide, {shape.vocab_size:,} vocabulary entries, "
        f"{shape.batch} x {shape.length} tokens; {documents['count']:,.0f} documents, median {documents['median']:.0f} "
        f"tokens, mean {documents['mean']:.0f} (cut to {shape.length})"
    )
    product = rates.pop(PRODUCT, None)
    if product:
        print(f"bare fp32 matrix product: {median(product) / 1e9:.0f} GFLOP/s")
    print(f"{'system':<22} {'tokens/s':>9} {'neobert is':>11} {'of product':>11} {'peak GB':>8}")
    for name, row in rates.items():
        ratio = f"{median(a / b for a, b in zip(rates[OURS], row, strict=True)):.2f}x" if OURS in rates else ""
        share = ""
        if product and name == OURS:
            work = operations_a_token(shape, documents)
            share = f"{median(a * work / b for a, b in zip(row, product, strict=True)):.0%}"
        print(f"{name:<22} {median(row):>9,.0f} {ratio:>11} {share:>11} {peaks[name] / 1e9:>8.2f}")


def operations_a_token(shape: Shape, documents: dict[str, float]) -> float:
    """6 for each parameter of the blocks; attention; the head for masked tokens only.

    Attention multiplies twice, 2 * L * C operations each, three times as much with the backward pass; L is the mean
    length of the sequence that a token lies in.
    """
    blocks = 6 * shape.layers * shape.hidden_size * (4 * shape.hidden_size + 3 * shape.feed_forward)
    attention = 12 * shape.layers * shape.hidden_size * documents["seen"]
    return blocks + attention + SHARE_MASKED * 6 * shape.hidden_size * shape.vocab_size


if __name__ == "__main__":
    main()
