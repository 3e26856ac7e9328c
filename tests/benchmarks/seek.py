"""Seconds until a resumed run has its first batch: from a cursor at a step, and without one.

    python -m tests.benchmarks.seek [--corpus NAME=PATH ...]

From a cursor is what a run does that resumes: the cursor is read from JSON, checked against the data, and the step's
batch is planned, collated and masked. A cold seek plans all steps that come before, which is the least that a
loader without cursors would do (one that reads the skipped batches takes longer); over 10,000 steps it is
extrapolated. The documents have a real corpus's lengths and one word: tokens play no part.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from tests.benchmarks.corpora import add_flags, read_corpora, versions
from tests.benchmarks.stream_memory import MAX_LENGTH, training_data, word_tokenizer

from neobert.data.corpus import StoredCorpus
from neobert.data.cursor import Cursor
from neobert.data.training_data import TrainingData
from neobert.served import CollatorKeys

WALKED, FAR = (10, 10_000), 10_000_000
REPEATS = 5
SPECIAL = 2


@frozen(eq=False)
class OneWord:
    """Documents of given lengths."""

    lengths: NDArray[np.int32] = field(repr=False)
    fingerprint: str = "one word"

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, document: int, start: int, stop: int) -> NDArray[np.integer[Any]]:
        return np.full(stop - start, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    arguments = parser.parse_args()
    print(f"{versions()}; steps of {8 * MAX_LENGTH:,} tokens; the median of {REPEATS}")
    print(f"{'corpus':<18} {'step':>10} {'epoch':>8} {'window':>6} {'from its cursor, s':>18} {'cold, s':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, lengths in read_corpora(arguments.corpus).items():
            data = data_of(lengths, Path(folder))
            for step, cursor, cold, how in places(data):
                seconds = median(seek(data, cursor, step) for _ in range(REPEATS))
                where = f"{name:<18} {step:>10,} {cursor.epoch:>8,} {cursor.window:>6}"
                print(f"{where} {seconds:>18.4f} {cold:>10,.3f} {how}", flush=True)


def data_of(lengths: NDArray[np.int32], folder: Path) -> TrainingData:
    keys = CollatorKeys(pack_sequences=True)
    corpus = StoredCorpus(OneWord(lengths), MAX_LENGTH - SPECIAL, "split", keys.packing_window)
    return training_data(corpus, word_tokenizer(), folder, keys)


def places(data: TrainingData) -> list[tuple[int, Cursor, float, str]]:
    """(step, its cursor, seconds to plan all that comes before, how they are known)"""
    found, began = [], perf_counter()
    cursor, cold = Cursor(), 0.0
    for step, (_, after) in enumerate(islice(data.pieces(Cursor()), WALKED[-1]), start=1):
        if step in WALKED:
            cursor, cold = after, perf_counter() - began
            found.append((step, cursor, cold, "measured"))
    # A cursor has no part that grows with the step: a later one has another epoch, and a carry like this one's.
    times = FAR // WALKED[-1]
    return [*found, (FAR, evolve(cursor, epoch=cursor.epoch * times), cold * times, "extrapolated")]


def seek(data: TrainingData, cursor: Cursor, step: int) -> float:
    saved = json.dumps(cursor.to_json())
    began = perf_counter()
    first = next(iter(data.steps(Cursor.from_json(json.loads(saved)), step)))
    seconds = perf_counter() - began
    data.close()
    if first.step != step:
        msg = f"a seek to step {step} came to {first.step}"
        raise RuntimeError(msg)
    return seconds


if __name__ == "__main__":
    main()
