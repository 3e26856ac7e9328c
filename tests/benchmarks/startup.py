"""Seconds until the first step of a run with a warm data cache, beside importing the libraries that it stands on.

    python -m tests.benchmarks.startup [recipes/pretrain.toml] [--rounds 7]

Each figure is a process of its own, from its start; the two alternate, and medians are compared. The evaluation
before the first step is left out, and so is compilation, which is part of that step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

LIBRARIES = ("torch", "transformers", "datasets", "accelerate")
IMPORTS = f"import {', '.join(LIBRARIES)}"
RUN = """
import os, sys
from neobert import cli, libraries

def first_step(*_):
    sys.stdout.flush()
    os._exit(0)

def and_watch(inner=libraries.import_libraries):
    inner()
    from neobert.training.recorder import Recorder
    Recorder._evaluate = lambda *_: {}
    Recorder.next_step = first_step

libraries.import_libraries = and_watch
sys.exit(cli.main(sys.argv[1:]))
"""
"""A run that ends where it would ask for its first step's data. The class is known once its libraries are there."""
TARGET = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="recipes/pretrain.toml")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    imports, runs = [], []
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("NEOBERT_CACHE", str(Path(folder, "cache")))
        # Once for the data cache and the file system's.
        _seconds(IMPORTS)
        _seconds(RUN, arguments.recipe, f"--trainer.output_dir={folder}/warm")
        for number in range(arguments.rounds):
            imports.append(_seconds(IMPORTS))
            runs.append(_seconds(RUN, arguments.recipe, f"--trainer.output_dir={folder}/{number}"))
    print(", ".join(f"{name} {version(name)}" for name in LIBRARIES), f"Python {sys.version.split()[0]}", sep=", ")
    print(f"{'':<26} {'median':>7} {'least':>7} {'most':>7}")
    for name, values in (("importing the libraries", imports), ("until the first step", runs)):
        print(f"{name:<26} {median(values):>6.2f}s {min(values):>6.2f}s {max(values):>6.2f}s")
    ratio = median(b / a for a, b in zip(imports, runs, strict=True))
    print(f"{ratio:.2f}x (median of the rounds' own ratios); target {TARGET}x")


def _seconds(code: str, *arguments: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


if __name__ == "__main__":
    main()
