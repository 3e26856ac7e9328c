"""What became of examples, role by role: nothing is left out or cut without being counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from neobert.wording import counted

if TYPE_CHECKING:
    from neobert.data.examples import Examples, Stretch


@frozen(kw_only=True)
class RoleCounts:
    """The texts of one role in the examples that are trained on."""

    name: str
    texts: int
    tokens: int
    """As they are trained on: cut, prefixes included, special tokens not."""
    cut: int
    """Longer than a sequence."""
    empty: int
    """Texts of a role of many with nothing in them, which are left out."""
    nothing: int
    """Rows with nothing in it, where it has to be there."""


@frozen(kw_only=True)
class ExampleCounts:
    """Of all rows, or of a stream's first window."""

    examples: int
    """That are trained on."""
    tokens: int
    """Of their sequences, special tokens included."""
    incomplete: int
    """Rows with nothing in a role that has to be there,"""
    dropped: int
    """and with a text that is too long, where those are dropped: both are left out."""
    body: int
    """Tokens of a text that a sequence holds; of two that are joined, those of both."""
    roles: tuple[RoleCounts, ...]
    joined: bool = False
    """Whether two texts make one sequence."""

    def lines(self, scope: str = "") -> Iterator[str]:
        """For people, a fact a line; what did not happen is left out."""
        pair = ", both of a pair together" * self.joined
        yield f"{counted(self.examples, 'example')}, {counted(self.tokens, 'token')} with special tokens{scope}"
        for role in self.roles:
            if role.texts or role.empty:
                cut = f"; {role.cut:,} cut to {self.body:,} tokens{pair}" if role.cut else ""
                empty = f"; {role.empty:,} empty, left out" if role.empty else ""
                sizes = f"{counted(role.texts, 'text')}, {counted(role.tokens, 'token')}"
                yield f"role {role.name}: {sizes}{cut}{empty}"
        yield from self.left_out_lines()

    def left_out_lines(self) -> Iterator[str]:
        """The rows that are no examples."""
        if self.incomplete:
            which = ", ".join(f"{role.name} {role.nothing:,}" for role in self.roles if role.nothing)
            yield f"{counted(self.incomplete, 'row')} left out with nothing in a role ({which})"
        if self.dropped:
            yield (
                f"{counted(self.dropped, 'row')} left out with a text of more than {self.body:,} tokens, as "
                'datacollator.overflow = "drop" says'
            )


def count_examples(parts: Iterable[Examples]) -> ExampleCounts:
    """Over the rows of all parts, which have the same rules."""
    totals: Counter[str] = Counter()
    names: tuple[str, ...] = ()
    body, joined = 0, False
    for examples in parts:
        names, body = examples.rules.roles.names, examples.rules.pair_body or examples.rules.body
        joined = examples.rules.pair is not None
        for stretch in examples.stretches():
            totals.update(_counts(examples, stretch))
    roles = tuple(
        RoleCounts(
            name=name,
            texts=totals[f"texts {name}"],
            tokens=totals[f"tokens {name}"],
            cut=totals[f"cut {name}"],
            empty=totals[f"empty {name}"],
            nothing=totals[f"nothing {name}"],
        )
        for name in names
    )
    return ExampleCounts(
        examples=totals["examples"],
        tokens=totals["tokens"],
        incomplete=totals["incomplete"],
        dropped=totals["dropped"],
        body=body,
        roles=roles,
        joined=joined,
    )


def _counts(examples: Examples, stretch: Stretch) -> dict[str, int]:
    kept = stretch.rows > 0
    found = {
        "examples": int(kept.sum()),
        "tokens": int(stretch.rows.sum()),
        "incomplete": int(stretch.incomplete.sum()),
        "dropped": int(stretch.dropped.sum()),
    }
    of_kept, there = kept[stretch.row], stretch.length > 0
    roles = examples.rules.roles
    for name in roles.names:
        if name in roles.values:
            if name in roles.required:
                last = stretch.first + len(stretch.rows)
                found[f"nothing {name}"] = int(examples.table.values[name].missing(stretch.first, last).sum())
            continue
        mine = stretch.owner == examples.rules.slots.index(name)
        found[f"texts {name}"] = int((mine & there & of_kept).sum())
        found[f"tokens {name}"] = int(stretch.length[mine & of_kept].sum())
        found[f"cut {name}"] = int((mine & of_kept & (stretch.uncut > stretch.length)).sum())
        if name in roles.lists:
            found[f"empty {name}"] = int((mine & of_kept & ~there).sum())
        if name in roles.required:
            found[f"nothing {name}"] = len(kept) - len(np.unique(stretch.row[mine & there]))
    return found
