"""Tokens a second and peak memory by the length of sequences, packed into a micro-batch and one at a time.

    python -m tests.benchmarks.long_context [--length 1024 ...] [--rounds 3] [--steps 2] [--key model.x=y ...]

A recipe's own loop trains the model of recipes/pretrain.toml on whole modules of the standard library, cut to the
length. Every step has about 8,192 tokens: packed, in one micro-batch; alone, in micro-batches of one sequence each.
Each setting runs in a process of its own. Both of a length, and packed sequences of 1,024 beside them, take turns of a
few steps, so that what else the machine does hits all alike; a ratio is the median over rounds of the ratio within one.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median

from attrs import asdict, evolve
from tests.benchmarks.systems import Shape, prepare
from tests.benchmarks.throughput import ask, start

LENGTHS = (1024, 2048, 4096, 8192)
TOKENS = 8192
"""Of a step, about."""
SHAPE = Shape(hidden_size=256, layers=4, heads=4, vocab_size=8192)
REFERENCE = "packed 1,024"
SHORTEST = 4000
"""Characters of the shortest module that is taken."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, action="append", help="repeat for several; unset: 1024 to 8192")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of a turn")
    parser.add_argument("--key", action="append", default=[], help="a recipe key: trainer.gradient_checkpointing=true")
    arguments = parser.parse_args()
    print(
        f"torch {version('torch')}, Python {platform.python_version()}; {SHAPE.layers} layers, {SHAPE.hidden_size} wide"
    )
    print(f"{'length':>7} {'':<7} {'tokens/s':>9} {'of packed 1,024':>16} {'packed is':>10} {'peak GB':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(SHAPE, folder, modules())
        for length in arguments.length or LENGTHS:
            show(length, *take_turns(length, folder, arguments))


def modules() -> list[str]:
    """Sources of the standard library, whole."""
    import sysconfig

    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    texts = (path.read_text(encoding="utf-8", errors="replace") for path in paths)
    return [text for text in texts if len(text) >= SHORTEST]


def settings_of(length: int, packed: bool, folder: Path, arguments: argparse.Namespace) -> Path:
    """What a process is started with."""
    many = TOKENS // length
    keys = [f"trainer.gradient_accumulation_steps={1 if packed else many}", *arguments.key]
    if not packed:
        keys.append("datacollator.pack_sequences=false")
    shape = evolve(SHAPE, length=length, batch=many if packed else 1)
    name = f"{length}-{'packed' if packed else 'alone'}-{len(list(folder.glob('*.json')))}"
    file = folder / f"{name}.json"
    run = {"steps": arguments.steps, "precision": "no", "keys": keys, "folder": str(folder), "run": name}
    file.write_text(json.dumps(asdict(shape) | run))
    return file


def take_turns(
    length: int, folder: Path, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The rate of each setting in each round, and its peak memory in bytes."""
    settings = {"packed": settings_of(length, True, folder, arguments)}
    settings["alone"] = settings_of(length, False, folder, arguments)
    settings[REFERENCE] = settings_of(LENGTHS[0], True, folder, arguments)
    children = {}
    for name, file in settings.items():
        children[name] = start("neobert", file)
        ask(name, children[name])  # warming up, one after another: the first fills the cache of tokens
    rates: dict[str, list[float]] = {name: [] for name in settings}
    for _ in range(arguments.rounds):
        for name, child in children.items():
            answer = ask(name, child)
            rates[name].append(answer["amount"] / answer["seconds"])
    return rates, {name: ask(name, child, "end")["peak"] for name, child in children.items()}


def show(length: int, rates: dict[str, list[float]], peaks: dict[str, float]) -> None:
    for name in ("packed", "alone"):
        of_reference = median(a / b for a, b in zip(rates[name], rates[REFERENCE], strict=True))
        ratio = median(a / b for a, b in zip(rates["packed"], rates[name], strict=True))
        faster = f"{ratio:.2f}x" if name == "alone" else ""
        row = f"{length:>7,} {name:<7} {median(rates[name]):>9,.0f} {of_reference:>15.2f}x {faster:>10}"
        print(f"{row} {peaks[name] / 1e9:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
