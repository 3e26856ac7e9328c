"""``--report RUN [RUN ...]``: one HTML page about a run, or about several beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.output import placed
from neobert.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neobert.commands.arguments import Arguments

PAGE = "report.html"


def run(arguments: Arguments) -> int:
    """Writes the page and says where; a page of ours that is there is written again."""
    said = arguments.given["--report"]
    output = arguments.value("--output")
    if output is None and len(said) > 1:
        msg = "--report of several runs needs --output FILE: the page belongs to none of their folders"
        raise UserError(msg)

    from neobert.files import write_text
    from neobert.report.page import page_of
    from neobert.report.run import read_runs

    runs = read_runs(said)
    file = _ours(placed(Path(output if output is not None else Path(said[0], PAGE))))
    write_text(file, page_of(runs))
    for line in _lines(file, [(it.name, it.notes) for it in runs]):
        print(line)
    return 0


def _ours(file: Path) -> Path:
    """A file that is not there, or a page of an earlier time. Raises UserError."""
    from neobert.report.page import is_page

    if file.exists() and not is_page(file):
        msg = f"--output {file}: it exists already and is no page of --report; name another file"
        raise UserError(msg)
    return file


def _lines(file: Path, notes: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    return [*(f"{name}: {note}" for name, lines in notes for note in lines), f"written to {file}"]
