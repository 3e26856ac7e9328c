"""Fill and planning speed of the packer beside next-fit in arrival order.

    python -m tests.benchmarks.packing [--corpus NAME=PATH ...] [--seconds 1.0] [--sequences 8]

``--corpus wordnet=PATH`` and the like add corpora to the standard library, see `tests.benchmarks.corpora`. Fill is
that of whole epochs, what is carried over included. Speed is by the processor time of one core, the best of three
measurements, of all that a plan needs: order, cutting, packing, bounds and cursor. What a plan handles are
sequences; a document that is longer than ``max_seq_length`` is several of them, so both units are shown. Next-fit
is given the sequences of all documents in order, cut already: its speed is that of packing alone.
"""

from __future__ import annotations

import argparse
from time import thread_time

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.corpora import add_flags, read_corpora, versions

from neobert.data.cursor import Cursor
from neobert.data.packing import pack_in_order
from neobert.data.plan import OrderedSource, Planner, Shape
from neobert.data.sequences import Cut, Pieces
from neobert.served import CollatorKeys

SPECIAL = 2
LENGTHS = (512, 1024, 4096)
REPEATS = 3
COLUMNS = (
    f"{'corpus':<18} {'documents':>10} {'tokens':>12} {'length':>6} {'seq/doc':>7} | {'fill':>7} {'documents/s':>12} "
    f"{'sequences/s':>12} | next-fit: {'fill':>7} {'documents/s':>12}"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_flags(parser)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement of speed")
    parser.add_argument("--sequences", type=int, default=8, help="per_device_train_batch_size")
    arguments = parser.parse_args()
    corpora = read_corpora(arguments.corpus)
    print(f"{versions()}; {arguments.sequences} sequences a micro-batch, windows of {CollatorKeys().packing_window:,}")
    print(COLUMNS)
    for name, lengths in corpora.items():
        for max_length in LENGTHS:
            row = measure(lengths, max_length, arguments.sequences, arguments.seconds)
            print(f"{name:<18} {len(lengths):>10,} {int(lengths.sum()):>12,} {max_length:>6} {row}", flush=True)


def measure(lengths: NDArray[np.int32], max_length: int, sequences: int, seconds: float) -> str:
    """A line of the table."""
    planner = planner_of(lengths, max_length, sequences)
    cut = Cut(lengths, max_length - SPECIAL, "split")
    per_document = len(cut) / np.count_nonzero(lengths)
    planned = max(planned_per_second(planner, seconds) for _ in range(REPEATS))
    arrival = cut.pieces(np.arange(len(cut)))
    in_order, took = fastest_in_order(arrival, planner.shape.budget)
    fill = filling(arrival) / (in_order * planner.shape.budget)
    return (
        f"{per_document:>7.2f} | {fill_of_epochs(planner):>7.2%} {planned / per_document:>12,.0f} {planned:>12,.0f} "
        f"|           {fill:>7.2%} {len(arrival) / took / per_document:>12,.0f}"
    )


def planner_of(lengths: NDArray[np.int32], max_length: int, sequences: int) -> Planner:
    cut = Cut(lengths, max_length - SPECIAL, "split")
    shape = Shape(sequences, max_length, SPECIAL, packed=True)
    return Planner(OrderedSource(cut, CollatorKeys().packing_window, 0), shape, 0)


def fill_of_epochs(planner: Planner) -> float:
    cursor, batches, tokens = Cursor(), 0, 0
    while cursor.epoch < 1:
        plan = planner.plan(cursor)
        batches, tokens, cursor = batches + len(plan), tokens + filling(plan.pieces), plan.after
    return tokens / (batches * planner.shape.budget)


def planned_per_second(planner: Planner, seconds: float) -> float:
    """Sequences."""
    began, planned, cursor = thread_time(), 0, Cursor()
    while (took := thread_time() - began) < seconds:
        plan = planner.plan(cursor)
        planned, cursor = planned + len(plan.pieces), plan.after
    return planned / took


def fastest_in_order(pieces: Pieces, budget: int) -> tuple[int, float]:
    """Batches of next-fit, and the seconds that it takes."""
    batches, best = 0, float("inf")
    for _ in range(REPEATS):
        began = thread_time()
        batches = pack_in_order(pieces.lengths + SPECIAL, budget).batches
        best = min(best, thread_time() - began)
    return batches, best


def filling(pieces: Pieces) -> int:
    return int(pieces.lengths.sum()) + len(pieces) * SPECIAL


if __name__ == "__main__":
    main()
