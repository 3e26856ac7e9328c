"""What ``trainer.deterministic`` costs: the same steps with it and without, turn about.

    python -m tests.benchmarks.deterministic RECIPE [--steps 50] [--rounds 3] [OVERRIDE ...]

Prints the median tokens a second of each, over the second half of the steps, and their ratio. Each round is a process
of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

WAYS = ("false", "true")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    arguments, overrides = parser.parse_known_args(argv)
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.rounds):
        for way in WAYS:
            rates[way].append(rate(arguments.recipe, arguments.steps, way, overrides))
    for way in WAYS:
        print(f"trainer.deterministic = {way:<5} {median(rates[way]):>10,.0f} tokens/s")
    print(f"ratio {median(rates['true']) / median(rates['false']):.3f}")
    return 0


def rate(recipe: str, steps: int, way: str, overrides: list[str]) -> float:
    """Tokens a second of one run's second half."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "neobert.cli", recipe, *overrides),
            f"--trainer.output_dir={folder}/run",
            f"--trainer.max_steps={steps}",
            "--trainer.logging_steps=1",
            f"--trainer.deterministic={way}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = map(json.loads, Path(folder, "run", "metrics.jsonl").read_text(encoding="utf-8").splitlines())
        found = {line["step"]: line["train/tokens_per_second"] for line in lines if "train/tokens_per_second" in line}
    return median(value for step, value in found.items() if 2 * step > steps)


if __name__ == "__main__":
    sys.exit(main())
