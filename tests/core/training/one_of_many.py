"""One process of several, which takes part in several runs, one after the other.

``python one_of_many.py RANK RANKS FOLDER``: the runs are ``FOLDER/jobs.json``. What each printed, how it ended and what
it trained on goes to ``FOLDER/NAME-RANK.json``.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from attrs import evolve
from rich.console import Console

from neobert.cli import guarded
from neobert.data import MicroBatch, StepBatches, TrainingData
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.run import run

UNMASKED = (1, 1)
"""(step, micro-batch of all ranks): has no masked token."""
Seen = dict[str, str]


def main(rank: int, ranks: int, folder: Path) -> None:
    os.chdir(folder)
    for job in json.loads(Path("jobs.json").read_text()):
        os.environ |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(ranks),
            "LOCAL_RANK": str(rank),
            "LOCAL_WORLD_SIZE": str(ranks),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(job["port"]),
        }
        Path(f"{job['name']}-{rank}.json").write_text(json.dumps(outcome(job, rank, ranks)))


def outcome(job: dict[str, Any], rank: int, ranks: int) -> dict[str, Any]:
    """What became of one run."""
    out, err, seen = io.StringIO(), io.StringIO(), Seen()
    console = Console(file=out, width=200)

    def work() -> int:
        return run(load_recipe(Path(job.get("recipe", "recipe.toml")), job["overrides"]), console)

    with doubles(job.get("double", False)), watched(seen, rank, ranks, job), redirect_stderr(err):
        try:
            status: Any = guarded("neobert-run", work)
        except SystemExit as error:
            status = error.code
        except Exception:  # told here: the other processes would wait for this one in their next run
            status = traceback.format_exc()
    return {"status": status, "out": out.getvalue(), "err": err.getvalue(), "seen": seen}


@contextmanager
def doubles(wanted: bool) -> Iterator[None]:
    """Weights in float64, so that what is left between two orders of a sum is far below what a fault would make."""
    if wanted:
        torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def watched(seen: Seen, rank: int, ranks: int, job: dict[str, Any]) -> Iterator[None]:
    """Writes down each micro-batch by its step and number on all ranks; and makes the trouble that a job asks for."""
    steps = TrainingData.steps

    def watching(self: TrainingData, cursor: Any, first_step: int) -> Iterator[StepBatches]:
        for data in steps(self, cursor, first_step):
            if data.step == job.get("signal", {}).get(str(rank)):
                os.kill(os.getpid(), signal.SIGTERM)
            if data.step == job.get("kill", {}).get(str(rank)):
                os.kill(os.getpid(), signal.SIGKILL)
            if data.step == job.get("fail", {}).get(str(rank)):
                msg = "this file cannot be read"
                raise UserError(msg)
            numbers = [number * ranks + rank for number in range(len(data.micro_batches))]
            made = [
                unmasked(micro) if (data.step, g) == UNMASKED and job.get("unmasked") else micro
                for micro, g in zip(data.micro_batches, numbers, strict=True)
            ]
            for micro, g in zip(made, numbers, strict=True):
                seen[f"{data.step} {g}"] = described(micro)
            yield evolve(data, micro_batches=tuple(made))

    TrainingData.steps = watching  # type: ignore[method-assign]
    try:
        yield
    finally:
        TrainingData.steps = steps  # type: ignore[method-assign]


def unmasked(micro: MicroBatch) -> MicroBatch:
    fields = {name: value[:0] for name, value in micro.batch.fields.items()}
    return evolve(micro, batch=evolve(micro.batch, fields=fields))


def described(micro: MicroBatch) -> str:
    batch = micro.batch
    fields = {name: value.tolist() for name, value in sorted(batch.fields.items())}
    return sha256(repr((micro.seed, batch.input_ids.tolist(), batch.layout.lengths, fields)).encode()).hexdigest()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
