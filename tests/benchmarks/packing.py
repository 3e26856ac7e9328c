"""Fill and planning speed of the packer beside next-fit in arrival order, and seek time from a cursor.

    python -m tests.benchmarks.packing [--seconds 1.0] [--sequences 8]

On real corpora: the standard library's prose as modules and as items (every machine has it), the text files of
installed Debian packages' documentation, and larger ones where their packages are installed. Fill is measured over
whole epochs, the carry included; speed on one core, with everything that a plan needs: order, packing, bounds, cursor.
"""

from __future__ import annotations

import argparse
import gzip
import os
import sys
import tempfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neobert.data.cursor import Cursor
from neobert.data.packing import pack_in_order
from neobert.data.plan import OrderedSource, Planner, Shape
from neobert.data.sequences import Cut
from neobert.served import CollatorKeys

SPECIAL = 2
LENGTHS = (512, 1024, 4096)
SEEKS = (10, 10_000, 10_000_000)
PACKAGES = {
    "linux-doc": ("/usr/share/doc/linux-doc/html", (".txt", ".rst", ".gz")),
    "python3-doc": ("/usr/share/doc/python3-doc/html/_sources", (".txt",)),
    "wordnet": ("/usr/share/wordnet", (".noun", ".verb", ".adj", ".adv")),
    "/usr/share/doc": ("/usr/share/doc", ("copyright", ".txt", ".gz", ".md", "README", "NEWS")),
}
"""Name of a Debian package (or a folder): where its text is, and how the files' names end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement of speed")
    parser.add_argument("--sequences", type=int, default=8, help="per_device_train_batch_size")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NEOBERT_CACHE"] = folder
        corpora = dict(lengths_of_corpora())
    print(
        f"{'corpus':<22} {'documents':>10} {'tokens':>12} {'length':>6} {'fill':>7} {'next-fit':>8} {'documents/s':>12}"
    )
    for name, lengths in corpora.items():
        for max_length in LENGTHS:
            row = measure(lengths, max_length, arguments.sequences, arguments.seconds)
            print(f"{name:<22} {len(lengths):>10,} {int(lengths.sum()):>12,} {max_length:>6} {row}")
    largest = max(corpora, key=lambda name: len(corpora[name]))
    print(f"\nseconds to the first micro-batch of a step, {largest}, 512 tokens")
    for line in seek(corpora[largest], 512, arguments.sequences):
        print(line)


def measure(lengths: NDArray[np.int32], max_length: int, sequences: int, seconds: float) -> str:
    """Fill of the plan, that of next-fit, and documents planned a second."""
    planner = planner_of(lengths, max_length, sequences)
    budget = planner.shape.budget
    cursor, batches, tokens = Cursor(), 0, 0
    while cursor.epoch < 1:
        plan = planner.plan(cursor)
        batches, tokens, cursor = batches + len(plan), tokens + filling(plan.pieces), plan.after
    fill = tokens / (batches * budget)
    arrival = planner.source.cut.pieces(np.arange(len(planner.source.cut)))  # type: ignore[attr-defined]
    in_order = pack_in_order(arrival.lengths + SPECIAL, budget)
    next_fit = filling(arrival) / (in_order.batches * budget)
    began, planned, cursor = perf_counter(), 0, Cursor()
    while (took := perf_counter() - began) < seconds:
        plan = planner.plan(cursor)
        planned, cursor = planned + len(plan.pieces), plan.after
    documents = planned / took * int((lengths > 0).sum()) / len(arrival)
    return f"{fill:>7.2%} {next_fit:>8.2%} {documents:>12,.0f}"


def seek(lengths: NDArray[np.int32], max_length: int, sequences: int) -> Iterable[str]:
    """From a cursor, which a checkpoint holds; and without one, by planning all that comes before."""
    planner = planner_of(lengths, max_length, sequences)
    began = perf_counter()
    for step, (_, cursor) in enumerate(islice(planner.micro_batches(Cursor()), max(SEEKS[:2])), start=1):
        if step in SEEKS:
            cold = perf_counter() - began
            yield f"  step {step:>10,}: {timed(planner, cursor):.4f} from its cursor, {cold:.4f} cold"
    # Nothing in a cursor grows with the step: this one has that step's epoch, and the carry of the last.
    epoch = cursor.epoch * SEEKS[2] // SEEKS[1]
    later = Cursor(epoch, cursor.window, cursor.position, cursor.carry)
    estimate = cold * SEEKS[2] / SEEKS[1]
    seconds = timed(planner, later)
    yield f"  step {SEEKS[2]:>10,}: {seconds:.4f} from its cursor, about {estimate:,.0f} cold (extrapolated)"


def timed(planner: Planner, cursor: Cursor) -> float:
    began = perf_counter()
    next(planner.micro_batches(cursor))
    return perf_counter() - began


def planner_of(lengths: NDArray[np.int32], max_length: int, sequences: int) -> Planner:
    cut = Cut(lengths, max_length - SPECIAL, "split")
    shape = Shape(sequences, max_length, SPECIAL, packed=True)
    return Planner(OrderedSource(cut, CollatorKeys().packing_window, 0), shape, 0)


def filling(pieces: Any) -> int:
    return int(pieces.lengths.sum()) + len(pieces) * SPECIAL


def lengths_of_corpora() -> Iterable[tuple[str, NDArray[np.int32]]]:
    """Each corpus that is there, as the lengths of its documents in tokens; why the others are not, on stderr."""
    import datasets

    from neobert.data.tokenization import tokenize
    from neobert_plugins.datasets.stdlib_options import StandardLibrary

    tokenizer = trained_tokenizer()

    def lengths_of(texts: list[str]) -> NDArray[np.int32]:
        return np.array(tokenize(datasets.Dataset.from_dict({"text": texts}), tokenizer).lengths)

    for document in ("module", "item"):
        texts = StandardLibrary(document=document).build(None)["train"]["text"]  # type: ignore[arg-type]
        yield f"stdlib, {document}s", lengths_of(list(texts))
    for name, (folder, endings) in PACKAGES.items():
        texts = list(texts_under(Path(folder), endings))
        if texts:
            yield name, lengths_of(texts)
        else:
            print(f"skipped {name}: no text in {folder} (is the package installed?)", file=sys.stderr)


def trained_tokenizer() -> Any:
    from tests.benchmarks.tokenization import make_tokenizer

    return make_tokenizer()


def texts_under(folder: Path, endings: tuple[str, ...]) -> Iterable[str]:
    """Paragraphs of several lines: what a corpus of documentation is cut into."""
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.name.endswith(endings) and path.is_file():
            content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            parts = content.decode("utf-8", errors="ignore").split("\n\n")
            yield from (part for part in parts if part.strip())


if __name__ == "__main__":
    main()
