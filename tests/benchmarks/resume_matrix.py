"""Resumed beside unbroken, bit for bit: where it is interrupted x how data comes x workers x world sizes.

    python -m tests.benchmarks.resume_matrix [--workers 0 3] [--worlds 1 2 4]

Two epochs and more of a tiny recipe. A step has four micro-batches, shared out over the ranks, so for every world size
the global run is the same one: each cell compares ids, layouts, masks and seeds of all that follows an interruption
with the run that was never interrupted, with one rank and no workers. One rank goes through the whole loop: its losses
and its last state (weights and optimizer) are compared too. More ranks are simulated, one after another, by the
data that each would be given. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from itertools import chain, islice
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve, field, frozen
from rich.console import Console
from tests.conftest import write_workdir

from neobert.data import TrainingData
from neobert.data.cursor import Cursor
from neobert.recipe import load_recipe
from neobert.training.run import run

STEPS, MICRO_BATCHES = 14, 4
STREAMING = ("--dataset.streaming=true", "--datacollator.packing_window=40")
GROWING = ("--trainer.length_warmup_steps=9", "--trainer.length_warmup_start=8")
"""Up to the second edge: interruptions fall inside of the length warm-up, at its end, and go across it."""
KINDS = {"map-style": (), "streaming": STREAMING, "growing": (*STREAMING, *GROWING)}
COMMON = (
    "--trainer.logging_steps=1",
    f"--trainer.gradient_accumulation_steps={MICRO_BATCHES}",
    "--model.num_hidden_layers=1",
)
STATE = Path("checkpoints", str(STEPS), "state.safetensors")
Step = list[dict[str, object]]
"""Of each micro-batch: its parts, by what they are called in the table."""


@frozen(eq=False)
class Unbroken:
    """The run that was never interrupted."""

    folder: str
    kind: tuple[str, ...]
    """Its overrides."""
    data: TrainingData
    steps: Mapping[int, Step]
    cursors: Mapping[int, Cursor]
    """After so many steps."""
    losses: Mapping[int, float] = field(repr=False)

    @property
    def places(self) -> dict[str, tuple[int, ...]]:
        """After how many steps it is interrupted, by what the table calls it."""
        edges = [min(done for done, cursor in self.cursors.items() if cursor.epoch > epoch) for epoch in (0, 1)]
        inside = edges[0] // 2, sum(edges) // 2
        if not 0 < inside[0] < edges[0] < inside[1] < edges[1] < STEPS - 1:
            msg = f"two epochs do not end within {STEPS} steps: {edges}"
            raise RuntimeError(msg)
        return {
            "in epoch 0": (inside[0],),
            "its edge": (edges[0],),
            "in epoch 1": (inside[1],),
            "edge of 1": (edges[1],),
            "three": (inside[0], edges[0], edges[1]),
        }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 3])
    parser.add_argument("--worlds", type=int, nargs="+", default=[1, 2, 4], choices=(1, 2, 4))
    arguments = parser.parse_args(argv)
    start_server()
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        os.environ["NEOBERT_CACHE"] = str(Path(folder, "cache"))
        write_workdir(Path(folder))
        return 1 if print_matrix(arguments.workers, arguments.worlds) else 0


def start_server() -> None:
    """Workers come by the hundred: they are forked from a process that has imported what they need."""
    from transformers import PreTrainedTokenizerFast

    needed = ("neobert.data.loader", "neobert.training.run", "tests.conftest", PreTrainedTokenizerFast.__module__)
    forkserver.set_forkserver_preload(list(needed))
    forkserver.ensure_running()


def print_matrix(workers: list[int], worlds: list[int]) -> int:
    """Returns how many cells differ."""
    differ = 0
    for name, kind in KINDS.items():
        unbroken = run_unbroken(name, kind)
        titles = (f"{title} ({', '.join(map(str, stops))})" for title, stops in unbroken.places.items())
        print(f"{name:<10} {'workers':>7} {'ranks':>5} | {' | '.join(f'{title:<16}' for title in titles)}")
        for count in workers:
            for world in worlds:
                cells = [cell(unbroken, stops, count, world) for stops in unbroken.places.values()]
                differ += sum(found != "equal" for found in cells)
                print(f"{'':<10} {count:>7} {world:>5} | {' | '.join(f'{found:<16}' for found in cells)}", flush=True)
    print(f"compared: ids, layouts, masks, seeds; with one rank losses and state. {differ or 'no'} cells differ")
    return differ


def run_unbroken(name: str, kind: tuple[str, ...]) -> Unbroken:
    with watched() as seen:
        go(name, STEPS, *kind, "--trainer.save_steps=1")
    cursors = {found.step + 1: found.cursor for _, found in seen}
    steps = {found.step: contents(found) for _, found in seen}
    return Unbroken(name, kind, seen[0][0], steps, cursors, losses_of(name))


def cell(unbroken: Unbroken, stops: tuple[int, ...], workers: int, world: int) -> str:
    """``equal``, or where the run that was interrupted first differs, and in what."""
    if world == 1:
        return through_the_loop(unbroken, stops, workers)
    for rank in range(world):
        expected = {step: micros[rank::world] for step, micros in unbroken.steps.items() if step >= stops[0]}
        resumed = of_a_rank(unbroken, stops, workers, rank, world)
        if found := difference(expected, resumed):
            return f"rank {rank}: {found}"
    return "equal"


def through_the_loop(unbroken: Unbroken, stops: tuple[int, ...], workers: int) -> str:
    """The first interruption is a checkpoint of the unbroken run, the others are the resumed run's own."""
    folder = f"{unbroken.folder}-{workers}-{'-'.join(map(str, stops))}"
    resume = f"{unbroken.folder}/checkpoints/{stops[0]}"
    with watched() as seen:
        for until in (*stops[1:], STEPS):
            more = (f"--dataset.num_workers={workers}", f"--trainer.resume_from_checkpoint={resume}")
            go(folder, until, *unbroken.kind, *more)
            resume = "latest"
    expected = {step: micros for step, micros in unbroken.steps.items() if step >= stops[0]}
    if found := difference(expected, {step.step: contents(step) for _, step in seen}):
        return found
    if losses_of(folder) != {step: loss for step, loss in unbroken.losses.items() if step > stops[0]}:
        return "losses"
    return "equal" if Path(folder, STATE).read_bytes() == Path(unbroken.folder, STATE).read_bytes() else "state"


def of_a_rank(unbroken: Unbroken, stops: tuple[int, ...], workers: int, rank: int, world: int) -> dict[int, Step]:
    """What a rank is given from the first interruption on; each cursor has been JSON."""
    data, accumulation = unbroken.data, MICRO_BATCHES // world
    options = evolve(data.options, rank=rank, world_size=world, gradient_accumulation_steps=accumulation)
    keys = evolve(data.dataset_keys, num_workers=workers)
    found, cursor = {}, unbroken.cursors[stops[0]]
    for begin, until in zip(stops, (*stops[1:], STEPS), strict=True):
        resumed = evolve(data, options=options, dataset_keys=keys)
        for step in islice(
            resumed.steps(Cursor.from_json(json.loads(json.dumps(cursor.to_json()))), begin), until - begin
        ):
            found[step.step], cursor = contents(step), step.cursor
        resumed.close()
    return found


def difference(expected: Mapping[int, Step], found: Mapping[int, Step]) -> str:
    """The first step and what differs there; empty where nothing does."""
    for step in sorted({*expected, *found}):
        if step not in expected or step not in found or len(expected[step]) != len(found[step]):
            return f"step {step}: steps"
        for one, other in zip(expected[step], found[step], strict=True):
            if names := [name for name in dict.fromkeys(chain(one, other)) if one.get(name) != other.get(name)]:
                return f"step {step}: {', '.join(names)}"
    return ""


def contents(step: Any) -> Step:
    return [
        {
            "ids": micro.batch.input_ids.numpy().tobytes(),
            "layout": (micro.batch.layout.lengths, micro.batch.padding),
            **{name: value.numpy().tobytes() for name, value in micro.batch.fields.items()},
            "seed": micro.seed,
        }
        for micro in step.micro_batches
    ]


@contextmanager
def watched() -> Iterator[list[tuple[TrainingData, Any]]]:
    """Every step that the loop trains on meanwhile, and the data that it is of."""
    seen: list[tuple[TrainingData, Any]] = []
    steps = TrainingData.steps

    def watching(self: TrainingData, cursor: Cursor, first_step: int) -> Iterator[Any]:
        for step in steps(self, cursor, first_step):
            seen.append((self, step))
            yield step

    with patch.object(TrainingData, "steps", watching):
        yield seen


def go(folder: str, until: int, *overrides: str) -> None:
    overrides = (*COMMON, f"--trainer.output_dir={folder}", f"--trainer.max_steps={until}", *overrides)
    status = run(load_recipe(Path("recipe.toml"), overrides), Console(file=io.StringIO()))
    if status:
        msg = f"the run in {folder} ended with status {status}"
        raise RuntimeError(msg)


def losses_of(folder: str) -> dict[int, float]:
    lines = map(json.loads, Path(folder, "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["step"]: line["train/loss"] for line in lines if "train/loss" in line}


if __name__ == "__main__":
    sys.exit(main())
