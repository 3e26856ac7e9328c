"""Markdown files as rows of sections."""

from __future__ import annotations

import glob
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from datasets import Dataset
from neobert import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING = re.compile(r"#{1,6} ")
_FENCE = re.compile(r"\s*(```|~~~)")


def read(path: str, heldout_share: float) -> dict[str, Dataset]:
    """Both splits, in the order of the files' names. Raises `UserError` where there is nothing to train on."""
    files = sorted(file for file in glob.glob(path, recursive=True) if Path(file).is_file())
    if not files:
        msg = f"dataset.path = {path!r} matches no file"
        raise UserError(msg)
    splits: dict[str, list[str]] = {"train": [], "eval": []}
    for text in (section for file in files for section in sections(Path(file).read_text(encoding="utf-8"))):
        splits["eval" if _is_held_out(text, heldout_share) else "train"].append(text)
    if not splits["train"]:
        msg = f"dataset.path = {path!r} has no section to train on (held out: {len(splits['eval'])})"
        raise UserError(msg)
    return {name: Dataset.from_dict({"text": texts}) for name, texts in splits.items() if texts}


def sections(text: str) -> Iterator[str]:
    """From each heading to the next, without empty ones; a ``#`` in fenced code is no heading."""
    lines: list[str] = []
    fenced = False
    for line in text.splitlines():
        if _HEADING.match(line) and not fenced:
            yield from _not_empty(lines)
            lines = []
        fenced ^= _FENCE.match(line) is not None
        lines.append(line)
    yield from _not_empty(lines)


def _not_empty(lines: list[str]) -> Iterator[str]:
    text = "\n".join(lines).strip()
    if text:
        yield text


def _is_held_out(text: str, share: float) -> bool:
    """A function of the text: the same section is on the same side whatever files are added beside it."""
    return zlib.crc32(text.encode()) < share * 2**32
