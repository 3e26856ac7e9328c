"""Pairs a second and peak memory of a contrastive recipe's own loop beside sentence-transformers' trainer.

    python -m tests.benchmarks.contrastive [--rounds 5] [--steps 2] [--batch 32] [--length 256] [--system NAME ...]

All train the same exported encoder on the same pairs with the same tokenizer, batch, temperature, optimizer, clipping
and logging: ours with `info_nce`, theirs with MultipleNegativesRankingLoss; and at a batch four times larger ours with
`chunk_tokens`, theirs with CachedMultipleNegativesRankingLoss, with chunks of as many sequences. Each is a process of
its own. They take turns of a few steps, so that what else the machine does hits all alike; a ratio is the median over
rounds of the ratio within a round. Peak memory is that of the whole process, libraries and all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.contrastive_systems import SYSTEMS, prepare
from tests.benchmarks.throughput import ask

RIVALS = {"neobert": "sentence-transformers", "neobert, chunked": "sentence-transformers, cached"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn; of large batches a quarter")
    parser.add_argument("--batch", type=int, default=32, help="pairs; chunked and cached: four times as many")
    parser.add_argument("--length", type=int, default=256, help="tokens of a text, at most")
    parser.add_argument("--hidden-size", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--system", action="append", choices=list(SYSTEMS), help="repeat for several; unset: all")
    parser.add_argument("--key", action="append", default=[], help="a recipe key of ours: trainer.torch_compile=true")
    arguments = parser.parse_args()
    systems = arguments.system or list(SYSTEMS)
    with tempfile.TemporaryDirectory() as name:
        settings = {
            "folder": name,
            "steps": arguments.steps,
            "batch": arguments.batch,
            "length": arguments.length,
            "hidden_size": arguments.hidden_size,
            "layers": arguments.layers,
            "keys": arguments.key,
        }
        facts = prepare(settings)
        rates, peaks = take_turns(systems, settings, arguments.rounds)
    show(settings, facts, rates, peaks)


def take_turns(
    systems: list[str], settings: dict[str, Any], rounds: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Pairs a second of each system in each round, and its peak memory in bytes."""
    file = Path(settings["folder"]) / "settings.json"
    file.write_text(json.dumps(settings))
    children = {name: start(name, file) for name in systems}
    for name, child in children.items():
        ask(name, child)  # warming up: caches and threads
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, child in children.items():
            answer = ask(name, child)
            rates[name].append(answer["amount"] / answer["seconds"])
    return rates, {name: int(ask(name, child, "end")["peak"]) for name, child in children.items()}


def start(system: str, settings: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.benchmarks.contrastive_systems", system, str(settings)]
    offline = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=offline)


def show(
    settings: dict[str, Any], facts: dict[str, float], rates: dict[str, list[float]], peaks: dict[str, int]
) -> None:
    libraries = ("torch", "transformers", "sentence-transformers", "accelerate")
    print(", ".join(f"{name} {version(name)}" for name in libraries), "- Python", platform.python_version())
    print(
        f"{settings['layers']} layers, {settings['hidden_size']} wide; {settings['batch']} pairs a step, texts of at "
        f"most {settings['length']} tokens; {facts['pairs']:,.0f} pairs, on average {facts['query']:.0f} and "
        f"{facts['positive']:.0f} tokens"
    )
    print(f"{'system':<30} {'pairs/s':>9} {'neobert is':>11} {'peak GB':>8}")
    ours = {rival: name for name, rival in RIVALS.items()}
    for name, row in rates.items():
        mine = rates.get(ours.get(name, ""))
        ratio = f"{median(a / b for a, b in zip(mine, row, strict=True)):.2f}x" if mine else ""
        print(f"{name:<30} {median(row):>9,.1f} {ratio:>11} {peaks[name] / 1e9:>8.2f}")


if __name__ == "__main__":
    main()
