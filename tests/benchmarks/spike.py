"""A few steps of spoiled data in a run on real text, and what becomes of it: without a guard, skipped, rolled back.

    python -m tests.benchmarks.spike [--steps 240] [--at 150] [--bad 4] [--key trainer.x=y ...]

A small NeoBERT trains on the text of recipes/pretrain.toml. In the data of ``--bad`` steps from step ``--at`` on, the
label of every masked token is one and the same rare word, as of a broken shard. The place in the data is spoiled, not
the step, so that a run which goes back meets the rest of it again. Printed: the training loss of each run around that
place, the held-out loss before and after, and how far the loss and gradient norm of sound data ever are above the range
of the steps before, which is what a threshold has to stay above.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from attrs import evolve
from rich.console import Console

from neobert.data import Cursor, TrainingData
from neobert.recipe import load_recipe
from neobert.recipe.stability import GuardOptions
from neobert.training.guard import range_of_losses, range_of_norms
from neobert.training.run import run

RECIPE = Path(__file__).parents[2] / "recipes" / "pretrain.toml"
SMALL = (
    "model.hidden_size=128",
    "model.num_hidden_layers=2",
    "model.num_attention_heads=2",
    "model.intermediate_size=512",
    "tokenizer.vocab_size=4096",
    "dataset.max_seq_length=128",
    "dataset.eval_share=0.005",
    "trainer.per_device_train_batch_size=8",
    "trainer.per_device_eval_batch_size=16",
    "trainer.logging_steps=1",
    "trainer.use_cpu=true",
    "trainer.num_threads=1",
)
JUDGED = ("trainer.guard.threshold=6", "trainer.guard.window=50")
RUNS: dict[str, tuple[str, ...]] = {
    "sound data": (),
    "no guard": (),
    "skip": ("trainer.guard.action=skip", *JUDGED),
    "rollback": ("trainer.guard.action=rollback", *JUDGED),
}
RARE = 4000
"""Near the end of the vocabulary, which is in the order of frequency."""
AROUND = 12
Lines = list[dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--at", type=int, default=150, help="the first step whose data is spoiled")
    parser.add_argument("--bad", type=int, default=4, help="of how many steps the data is spoiled")
    parser.add_argument("--key", action="append", default=[], help="a recipe key for all runs: trainer.x=y")
    arguments = parser.parse_args()
    every = arguments.steps // 12
    common = (*SMALL, f"trainer.max_steps={arguments.steps}", f"trainer.save_steps={every}", *arguments.key)
    with tempfile.TemporaryDirectory() as name:
        os.environ.setdefault("NEOBERT_CACHE", str(Path(name, "cache")))
        places: list[Cursor] = []
        with watched(places):
            train("sound data", common, name)
        spoiled = places[arguments.at - 1 : arguments.at - 1 + arguments.bad]
        for title in list(RUNS)[1:]:
            with spoiling(spoiled):
                print(train(title, common, name), end="", flush=True)
        show({title: lines_of(Path(name, title)) for title in RUNS}, arguments.at, arguments.steps)


@contextmanager
def watched(places: list[Cursor]) -> Iterator[None]:
    """Notes where each step's data ends."""
    steps = TrainingData.steps

    def watching(self: TrainingData, cursor: Cursor, first_step: int) -> Iterator[Any]:
        for step in steps(self, cursor, first_step):
            places.append(step.cursor)
            yield step

    with patch.object(TrainingData, "steps", watching):
        yield


@contextmanager
def spoiling(places: list[Cursor]) -> Iterator[None]:
    """What ends at one of these places has one rare word for all labels."""
    steps = TrainingData.steps

    def spoiled(self: TrainingData, cursor: Cursor, first_step: int) -> Iterator[Any]:
        for step in steps(self, cursor, first_step):
            if step.cursor in places:
                yield evolve(step, micro_batches=tuple(map(spoil, step.micro_batches)))
            else:
                yield step

    with patch.object(TrainingData, "steps", spoiled):
        yield


def spoil(micro: Any) -> Any:
    labels = micro.batch.fields["labels"]
    fields = {**micro.batch.fields, "labels": labels.new_full(labels.shape, RARE)}
    return evolve(micro, batch=evolve(micro.batch, fields=fields))


def train(title: str, common: tuple[str, ...], parent: str) -> str:
    """Returns what the guard said."""
    keys = (*common, *RUNS[title], f"trainer.output_dir={parent}/{title}")
    said = io.StringIO()
    status = run(load_recipe(RECIPE, [f"--{key}" for key in keys]), Console(file=said, width=200))
    if status:
        msg = f"the run {title!r} ended with status {status}:\n{said.getvalue()}"
        raise RuntimeError(msg)
    told = [line for line in said.getvalue().splitlines() if "spikes" in line and line.startswith("step")]
    return "".join(f"{title}: {line}\n" for line in told)


def lines_of(folder: Path) -> Lines:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def show(runs: Mapping[str, Lines], at: int, steps: int) -> None:
    losses = {title: of_training(lines) for title, lines in runs.items()}
    near = range(max(1, at - AROUND), min(steps, at + 3 * AROUND) + 1)
    seen = [found[step] for found in losses.values() for step in near if step in found]
    print(f"\n{'step':>5} | " + " | ".join(f"{title:<26}" for title in runs))
    for step in (step for step in near if abs(step - at) <= AROUND or step % 4 == 0):
        bars = (bar(found.get(step), min(seen), max(seen)) for found in losses.values())
        print(f"{step:>5} | " + " | ".join(f"{text:<26}" for text in bars))
    print(f"\n{'':<12}{'held-out before':>16}{'after':>10}")
    for title, lines in runs.items():
        held_out = [line["eval/loss"] for line in lines if "eval/loss" in line]
        print(f"{title:<12}{held_out[0]:>16.4f}{held_out[-1]:>10.4f}")
    for window in (50, 100):
        print(furthest(runs["sound data"], window))


def of_training(lines: Lines) -> dict[int, float]:
    return {int(line["step"]): line["train/loss"] for line in lines if "train/loss" in line}


def bar(loss: float | None, least: float, most: float) -> str:
    """The loss, and a line as long as it is high."""
    if loss is None:
        return "skipped"
    return f"{loss:7.3f} {'#' * round(17 * (loss - least) / max(most - least, 1e-9))}"


def furthest(lines: Lines, window: int) -> str:
    """How many deviations above the median the furthest step is, each judged by the steps before it."""
    options = GuardOptions(action="skip", threshold=1.0, window=window)
    trained = [(line["train/loss"], line["train/grad_norm"]) for line in lines if "train/loss" in line]
    most_loss = most_norm = -math.inf
    for number in range(window, len(trained)):
        before, (loss, norm) = trained[:number], trained[number]
        losses = range_of_losses([found for found, _ in before], options)
        norms = range_of_norms([found for _, found in before], options)
        assert losses is not None
        assert norms is not None
        most_loss = max(most_loss, (loss - losses.middle) / (losses.most - losses.middle))
        most_norm = max(most_norm, math.log(norm / norms.middle) / math.log(norms.most / norms.middle))
    return (
        f"of sound data, the furthest above the median of {window} steps, in deviations: loss {most_loss:.2f}, "
        f"gradient norm {most_norm:.2f}"
    )


if __name__ == "__main__":
    main()
