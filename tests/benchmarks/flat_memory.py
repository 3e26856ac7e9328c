"""Memory over a long run: is it flat?

    python -m tests.benchmarks.flat_memory [--steps 10000] [--every 1000]

A tiny run that evaluates, saves, exports, prunes and logs, with recent losses judged and weights averaged. Prints the
memory of the process every so many steps, with what of it the program holds (glibc's count), and what the last half
added for each 1,000 steps. The first may creep up to the heap's size, which is fixed by then: pages of what was freed
and kept are used for the first time. A leak shows in the second.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

from rich.console import Console
from tests.conftest import write_workdir

from neobert.recipe import load_recipe
from neobert.training.memory import memory_in_use
from neobert.training.recorder import Recorder
from neobert.training.run import run

OVERRIDES = (
    "--optimizer=adamw",
    "--model.num_hidden_layers=1",
    "--trainer.gradient_accumulation_steps=1",
    "--trainer.logging_steps=10",
    "--trainer.eval_steps=250",
    "--trainer.save_steps=250",
    "--trainer.save_total_limit=2",
    "--trainer.ema={decay = 0.99}",
    "--trainer.guard.action=skip",
    "--trainer.guard.threshold=50",
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--every", type=int, default=1_000)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["NEOBERT_CACHE"] = str(Path(folder, "cache"))
        write_workdir(Path(folder))
        sizes = measure(arguments.steps, arguments.every)
    half = sorted(step for step in sizes if 2 * step >= arguments.steps)
    if len(half) > 1:
        thousands = (half[-1] - half[0]) / 1000
        grown = [
            (last - first) / thousands / 2**20 for first, last in zip(sizes[half[0]], sizes[half[-1]], strict=True)
        ]
        print(f"the last half added {grown[0]:+.2f} MiB each 1,000 steps, held {grown[1]:+.3f} MiB")
    return 0


class _Heap(ctypes.Structure):
    """``struct mallinfo2`` of glibc."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks")
    ] + [("keepcost", ctypes.c_size_t)]


def held() -> int:
    """Bytes that the program has asked glibc for and not given back."""
    ask = ctypes.CDLL(None).mallinfo2
    ask.restype = _Heap
    found = ask()
    return int(found.uordblks + found.hblkhd)


def measure(steps: int, every: int) -> dict[int, tuple[int, int]]:
    """Step -> bytes of this process after it, and what of them is held."""
    sizes: dict[int, tuple[int, int]] = {}
    after_step = Recorder.after_step

    def measured(recorder: Recorder, *arguments: Any) -> None:
        after_step(recorder, *arguments)
        step = arguments[3].step
        if step % every == 0:
            gc.collect()
            sizes[step] = memory_in_use(), held()
            print("step {:>7,}  {:>8.1f} MiB, held {:>8.2f} MiB".format(step, *(it / 2**20 for it in sizes[step])))

    recipe = load_recipe(Path("recipe.toml"), (*OVERRIDES, f"--trainer.max_steps={steps}"))
    with patch.object(Recorder, "after_step", measured), Path(os.devnull).open("w") as nowhere:
        run(recipe, Console(file=nowhere))
    return sizes


if __name__ == "__main__":
    sys.exit(main())
