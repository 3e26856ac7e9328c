"""How many steps each optimizer needs to a held-out loss: that which `adamw` ends with.

    python -m tests.benchmarks.optimizers [recipes/pretrain.toml] [--every 20] [--only NAME ...] [--key trainer.x=y ...]

Every run is the recipe's own (model, data, masks, schedule, seed), with another ``[optimizer]`` table and the learning
rates below. Losses do not depend on what else the machine does. ``--folder`` keeps the runs: one that is there already
is not trained again.
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

from attrs import frozen

OPTIMIZERS = {
    "adamw": {"name": "adamw", "lr": 0.003},
    "adam": {"name": "adam", "lr": 0.003},
    "stable_adamw": {"name": "stable_adamw", "lr": 0.003},
    "muon, fused": {"name": "muon", "lr": 0.02, "adamw_lr": 0.01, "split_fused": False},
    "muon": {"name": "muon", "lr": 0.02, "adamw_lr": 0.01},
}
"""Tables for recipes/pretrain.toml, each with the best of the rates that were tried (docs/optimizers.md has them)."""
TARGET = "adamw"


@frozen
class Curve:
    """The held-out loss of a run, by step."""

    losses: dict[int, float]

    @property
    def final(self) -> float:
        return self.losses[max(self.losses)]

    def reaches(self, target: float) -> int | None:
        """The first evaluated step with this loss or a lower one."""
        return next((step for step, loss in sorted(self.losses.items()) if loss <= target), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", default="recipes/pretrain.toml")
    parser.add_argument("--every", type=int, default=20, help="steps from one evaluation to the next")
    parser.add_argument("--only", action="append", choices=tuple(OPTIMIZERS), help="repeat for several; unset: all")
    parser.add_argument("--key", action="append", default=[], help="a recipe key of all runs: trainer.max_steps=100")
    parser.add_argument("--folder", help="where the runs are kept; unset: nowhere")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(arguments.folder or temporary)
        keys = [f"trainer.eval_steps={arguments.every}", *arguments.key]
        names = arguments.only or list(OPTIMIZERS)
        curves = {name: trained(arguments.recipe, name, keys, folder) for name in names}
    show(arguments.recipe, curves)


def trained(recipe: str, name: str, keys: list[str], folder: Path) -> Curve:
    """The curve of one optimizer, from its run's own metrics."""
    run = folder / name.replace(" ", "_")
    if not (run / "model_checkpoints").exists():
        table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in OPTIMIZERS[name].items())
        overrides = [f"--optimizer={{{table}}}", f"--trainer.output_dir={run}", *(f"--{key}" for key in keys)]
        command = [sys.executable, "-m", "neobert.cli", recipe, *overrides]
        print(f"{name}: {table}", file=sys.stderr, flush=True)
        subprocess.run(command, check=True, stdout=sys.stderr)
    lines = map(json.loads, (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return Curve({line["step"]: line["eval/loss"] for line in lines if "eval/loss" in line})


def show(recipe: str, curves: dict[str, Curve]) -> None:
    libraries = ("torch", "transformers", "datasets", "tokenizers")
    print(", ".join(f"{name} {version(name)}" for name in libraries), "- Python", platform.python_version())
    target = curves[TARGET].final if TARGET in curves else None
    said = "" if target is None else f"; target: the final loss of {TARGET}, {target:.4f}"
    print(f"{recipe}, {max(max(curve.losses) for curve in curves.values())} steps{said}")
    print(f"{'optimizer':<28} {'steps to target':>16} {'final loss':>11}")
    for name, curve in curves.items():
        steps = None if target is None else curve.reaches(target)
        print(f"{name:<28} {'-' if steps is None else steps:>16} {curve.final:>11.4f}")


if __name__ == "__main__":
    main()
