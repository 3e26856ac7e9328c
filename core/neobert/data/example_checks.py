"""Examples that do not hold together, named with their row before anything is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neobert.data.example_report import ExampleCounts, count_examples
from neobert.errors import UserError
from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.data.examples import Examples, Stretch


def check_values(examples: Examples, label: str, first: int = 0) -> None:
    """Raises UserError where an example that is trained on has no number in an optional role that others have one in,
    or a list of another length than it must have. Rows are numbered from ``first``."""
    values = examples.table.values
    widths: dict[str, int] = {}
    for stretch in examples.stretches() if values else ():
        kept, rows = stretch.rows > 0, slice(stretch.first, stretch.first + len(stretch.rows))
        for role, found in values.items():
            missing = kept & found.missing(rows.start, rows.stop)
            _refuse(missing, "has nothing: it is there for every row, or not at all", role, label, first + rows.start)
            if found.ends is None or not kept.any():
                continue
            lengths = found.lengths(rows.start, rows.stop)
            if role == "teacher_scores":
                _check_scores(examples, stretch, lengths, kept, label, first)
            if role in ("teacher_scores", "teacher_vector"):
                width = widths.setdefault(role, int(lengths[np.argmax(kept)]))
                wrong = kept & (lengths != width)
                what = f"has {_at(lengths, wrong)} numbers and others have {width}: all examples have as many"
                _refuse(wrong, what, role, label, first + rows.start)


def refuse_nothing_left(examples: Examples, label: str) -> ExampleCounts:
    """What became of the rows. Raises UserError where none is an example."""
    counts = count_examples([examples])
    if not counts.examples:
        reasons = "; ".join(counts.left_out_lines()) or "there is no row"
        msg = f"{label} has no example left: {reasons}"
        raise UserError(msg)
    return counts


def _check_scores(
    examples: Examples, stretch: Stretch, lengths: np.ndarray, kept: np.ndarray, label: str, first: int
) -> None:
    """One for the positive and one for each negative."""
    if "negatives" not in examples.rules.roles.lists:
        return
    mine = stretch.owner == examples.rules.slots.index("negatives")
    count = 1 + np.bincount(stretch.row[mine], minlength=len(kept))
    empty = np.zeros(len(kept), dtype=np.bool_)
    empty[stretch.row[mine & (stretch.length == 0)]] = True
    start = first + stretch.first
    _refuse(kept & empty, "are of a row with an empty negative: leave both out", "teacher_scores", label, start)
    wrong = kept & (lengths != count)
    what = f"has {_at(lengths, wrong)} numbers, expected {_at(count, wrong)}: one for the positive and each negative"
    _refuse(wrong, what, "teacher_scores", label, start)


def _at(values: np.ndarray, where: np.ndarray) -> int:
    return int(values[np.argmax(where)])


def _refuse(wrong: np.ndarray, what: str, role: str, label: str, first: int) -> None:
    if wrong.any():
        msg = f"row {first + int(np.argmax(wrong))} of {label}: {role} {what} ({counted(int(wrong.sum()), 'such row')})"
        raise UserError(msg)
