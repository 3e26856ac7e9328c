"""What a column of a dataset is to an objective: its role. Collators say which roles they take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from attrs import field, frozen

from neobert.wording import did_you_mean

Holds = Literal["text", "texts", "int", "float", "floats"]
"""What a column of a role holds: a text, any number of texts, a whole number (a string stands for one), a number, a
list of numbers."""

HOLDS: dict[str, Holds] = {
    "query": "text",
    "positive": "text",
    "negatives": "texts",
    "sentence": "text",
    "text": "text",
    "sentence1": "text",
    "sentence2": "text",
    "label": "int",
    "score": "float",
    "teacher_scores": "floats",
    "teacher_vector": "floats",
}
"""The roles that have a meaning everywhere."""
PAIR = "pair"
"""What an example has in the place of two texts that are joined."""
APART = ("query", "positive", "negatives", "sentence")
"""Of those, the ones whose texts are candidates for each other: twice in a micro-batch, a text would be told from
itself."""
_HOLDS = ("text", "texts", "int", "float", "floats")
_NUMBERED = re.compile(r"(\w+?)_([1-9]\d*)")


@frozen(kw_only=True)
class Roles:
    """Stated by a datacollator's options class as ``roles: ClassVar[Roles]``: its examples are mappings of these.

    A class without it takes token sequences, ``input_ids``. Raises ValueError for roles that contradict each other.
    """

    required: tuple[str, ...]
    """Roles that every dataset must have a column for. An example with nothing in one of them is left out."""
    optional: tuple[str, ...] = ()
    """Roles that it takes where they are there."""
    holds: Mapping[str, Holds] = field(factory=dict)
    """What the columns of roles of your own hold; those not named hold a text. Roles in `HOLDS` hold what it says."""
    apart: tuple[str, ...] | None = None
    """Roles whose texts no two examples of a micro-batch may share; None: those of `APART` that it takes."""
    joined: tuple[str, ...] = ()
    """Two required roles of one text each whose texts make one sequence, in the tokenizer's form for pairs. An example
    has it as ``pair``, and neither of the two."""
    copies: int = 1
    """How often the collator puts each text into the batch: a packed micro-batch has room for them."""

    def __attrs_post_init__(self) -> None:
        problem = next(self._faults(), None)
        if problem is not None:
            raise ValueError(problem)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the required ones first."""
        return (*self.required, *self.optional)

    @property
    def texts(self) -> tuple[str, ...]:
        """Those that hold one text."""
        return tuple(name for name in self.names if self.holding(name) == "text")

    @property
    def lists(self) -> tuple[str, ...]:
        """Those that hold any number of texts."""
        return tuple(name for name in self.names if self.holding(name) == "texts")

    @property
    def values(self) -> tuple[str, ...]:
        """Those that hold numbers."""
        return tuple(name for name in self.names if self.holding(name) not in ("text", "texts"))

    @property
    def kept_apart(self) -> tuple[str, ...]:
        """Those whose texts no two examples of a micro-batch share."""
        return tuple(name for name in APART if name in self.names) if self.apart is None else self.apart

    def holding(self, name: str) -> Holds:
        """What a column of this role holds."""
        return HOLDS.get(name) or self.holds.get(name, "text")

    def role_of(self, name: str) -> str | None:
        """The role that a column of this name, or a key of ``columns``, belongs to; None where there is none.

        ``negative`` and ``negative_1``, ``negative_2`` ... hold one text each of ``negatives``.
        """
        if name in self.names:
            return name
        match = _NUMBERED.fullmatch(name)
        plural = f"{match[1] if match else name}s"
        return plural if plural in self.lists else None

    def __str__(self) -> str:
        optional = f"; optional: {', '.join(self.optional)}" if self.optional else ""
        return ", ".join(self.required) + optional

    def _faults(self) -> Iterator[str]:
        names = self.names
        for name in names:
            if not (isinstance(name, str) and name.isidentifier()):
                yield f"a role is a name of letters, digits and _, got {name!r}"
            elif names.count(name) > 1:
                yield f"role {name!r} stands twice"
        for name, what in self.holds.items():
            if what not in _HOLDS:
                yield f"holds: {name} is {what!r}, expected one of {', '.join(_HOLDS)}"
            elif name not in names:
                yield f"holds: {name} is none of the roles {', '.join(names)}"
            elif HOLDS.get(name, what) != what:
                yield f"holds: {name} is {what!r}, but a role of this name always holds {HOLDS[name]!r}"
        if not any(self.holding(name) in ("text", "texts") for name in self.required):
            yield "none of the required roles holds a text"
        if self.joined and (len(set(self.joined)) != 2 or not set(self.joined) <= set(self.required) & set(self.texts)):
            yield f"joined: {', '.join(self.joined)}: expected two of the required roles that hold one text"
        if set(self.joined) & set(self.kept_apart) or (self.joined and self.copies > 1):
            yield "joined: texts that make one sequence are neither kept apart nor copied"
        for name in self.apart or ():
            if name not in (*self.texts, *self.lists):
                yield f"apart: {name} is none of the roles that hold texts"
        if self.copies < 1:
            yield f"copies = {self.copies}, must be 1 or more"


def roles_of(options: Any) -> Roles | None:
    """What a datacollator's options state; None where it takes token sequences."""
    roles: Roles | None = getattr(options, "roles", None)
    return roles


def number_of(name: str) -> int:
    """Where a column of one text stands among those of its role: 2 of ``negative_2``; 0 of one without a number."""
    match = _NUMBERED.fullmatch(name)
    return int(match[2]) if match else 0


def mapping_faults(columns: Mapping[str, str], prefixes: Mapping[str, str], roles: Roles) -> Iterator[tuple[str, str]]:
    """What is wrong with these before any data is seen: (such as ``role_columns.query``, why)."""
    taken: dict[str, str] = {}
    for name, column in columns.items():
        if roles.role_of(name) is None:
            yield (
                f"role_columns.{name}",
                f"no role of the datacollator{did_you_mean(name, roles.names)}\nroles: {roles}",
            )
        elif column in taken:
            yield f"role_columns.{name}", f"column {column!r} is {taken[column]} already: a column has one role"
        taken.setdefault(column, name)
    texts = (*roles.texts, *roles.lists)
    for name in prefixes:
        if name in texts:
            continue
        why = "no text stands in it" if name in roles.names else "no role of the datacollator"
        yield f"role_prefixes.{name}", f"{why}{did_you_mean(name, texts)}\nroles of text: {', '.join(texts)}"


def selection_faults(
    columns: Mapping[str, str],
    prefixes: Mapping[str, str],
    text_column: str | None,
    roles: Roles | None,
    others: Sequence[str] = (),
) -> Iterator[tuple[str, str]]:
    """What is wrong with these keys of a table for a datacollator with these roles, or without any: (key, why).

    ``others``: names of datacollators that have roles.
    """
    if roles is None:
        names = f": {', '.join(others)}" if others else ""
        why = (
            "the datacollator takes whole documents and no columns by role: leave it out, or name a datacollator that "
            f"has roles{names}"
        )
        for table, keys in (("role_columns", columns), ("role_prefixes", prefixes)):
            yield from ((f"{table}.{key}", why) for key in list(keys)[:1])
        return
    yield from mapping_faults(columns, prefixes, roles)
    for role in missing_roles(columns, roles):
        yield f"role_columns.{next(iter(columns))}", f"there is no column for role {role}\nroles: {roles}"
    if text_column is not None:
        yield "text_column", "the datacollator takes columns by role: role_columns says which is which"


def missing_roles(columns: Mapping[str, str], roles: Roles) -> list[str]:
    """The required roles that ``columns``, where it is given, has no column for."""
    found = {roles.role_of(name) for name in columns}
    return [name for name in roles.required if columns and name not in found]
