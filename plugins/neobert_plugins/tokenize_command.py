"""``neobert-tokenize``: any dataset as token ids on disk, ahead of time, over as many machines as there are.

Its parts are the built-in datasets and the built-in tokenizer from a folder or the hub; the work is the core's
(`neobert.data.shards`). Looking at the help imports nothing heavy.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from neobert.cli import guarded
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Tokenizes a dataset into a folder that a recipe names as [dataset] name = "disk".

Work that is done stays done: run the same command again after a kill, and it goes on. To spread a corpus over
machines, give each its own share of the same command, on a disk that all see, and join the shares at the end:

  neobert-tokenize --dataset corpus/*.jsonl --output ids --tokenizer tok --shard $I/64      (I from 0 to 63)
  neobert-tokenize --join --output ids
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit status."""

    def work() -> int:
        arguments = _read(sys.argv[1:] if argv is None else argv)
        from neobert_plugins.tokenize_work import run_join, run_tokenize

        return run_join(arguments) if arguments.join else run_tokenize(arguments)

    return guarded("neobert-tokenize", work)


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(
        "neobert-tokenize",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = flags.add_argument
    add("--dataset", nargs="+", help="a folder written by save_to_disk, files by a glob pattern, or a hub name")
    add("--output", type=Path, required=True, help="the folder to make; OUTPUT.shards stands beside it until joined")
    add("--tokenizer", help="a local folder, or a hub name")
    add("--max-length", type=_positive, metavar="N", help="tokens a row has at most, special tokens included")
    add(
        "--overflow",
        choices=("split", "truncate", "drop"),
        default="split",
        help="what becomes of a document longer than --max-length; default: split into several rows",
    )
    add("--split", default="train", help="which split, slices too; default: train")
    add("--dataset-config", metavar="NAME", help="configuration of a hub dataset, or of a folder like one")
    add("--text-column", metavar="NAME", help="unset: the only string column, else `text`")
    add("--num-proc", type=_positive, metavar="N", help="processes; unset: as many as pay")
    add("--max-samples", type=_positive, metavar="N", help="only the first N documents")
    add(
        "--no-special-tokens", action="store_true", help="rows of text alone, which training puts special tokens around"
    )
    add("--return-special-tokens-mask", action="store_true", help="a column that marks the special tokens with 1")
    add("--shard", type=_shard, metavar="I/N", help="only share I (from 0) of N; join them afterwards")
    add("--join", action="store_true", help="verify all shards of --output, and make one dataset of them")
    add("--rows-per-part", type=_positive, default=100_000, metavar="N", help="documents that a kill can cost at most")
    return flags


def _read(argv: Sequence[str]) -> argparse.Namespace:
    flags = parser()
    arguments = flags.parse_args(argv)
    if arguments.join:
        given = {token.partition("=")[0] for token in argv if token.startswith("--")}
        if extra := sorted(given - {"--join", "--output"}):
            msg = f"--join goes with --output alone, got {', '.join(extra)}: the shards know how they were made"
            raise UserError(msg)
    else:
        missing = [f"--{name}" for name in ("dataset", "tokenizer") if getattr(arguments, name) is None]
        if missing:
            msg = f"missing: {' and '.join(missing)}\n  neobert-tokenize --help says more"
            raise UserError(msg)
    return arguments


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is no whole number from 1 on"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        msg = f"{text!r} is no share: expected I/N with I from 0 to N - 1, such as 0/64"
        raise argparse.ArgumentTypeError(msg)
    return int(found[1]), int(found[2])


if __name__ == "__main__":
    sys.exit(main())
