"""From command-line tokens to layers: ``--trainer.max_steps 2000``, ``--loss full_logits_lm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.errors import Problem
from neobert.kinds import KINDS
from neobert.recipe.nodes import COMMAND_LINE, UNSET, Node, Text, at, dotted, node_tree
from neobert.recipe.positions import split_key
from neobert.recipe.values import takes_only_strings, takes_strings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PART_TABLES = tuple(kind.key for kind in KINDS.values() if kind.key is not None)
TABLES = (*PART_TABLES, "objectives", "trainer")
"""What may stand at the top of a recipe: tables of parts (``trackers`` is a list of them), several objectives in place
of one's dataset, collator and loss, and ``trainer``."""


def is_override(token: str) -> bool:
    """Whether a command-line token is an override's flag: a dotted key, or a recipe table's name."""
    if not token.startswith("--"):
        return False
    name = token[2:].partition("=")[0]
    return name in TABLES or "." in name


@frozen
class Override:
    """One key and what the command line says it is."""

    path: tuple[str, ...]
    raw: str

    @property
    def depth(self) -> int:
        """Lower ones apply first: a plugin's name before its options, in whatever order they were typed."""
        return len(self.path) - (self.path[-1] == "name")


def override_layers(tokens: Sequence[str], problems: list[Problem]) -> list[Node]:
    """One layer an override, lowest first. Faults of form and contradictions are added to ``problems``."""
    overrides = list(read_overrides(tokens, problems))
    _find_contradictions(overrides, problems)
    ordered = sorted(overrides, key=lambda override: override.depth)
    return [at(override.path, Node(Text(override.raw), COMMAND_LINE)) for override in ordered]


def is_none(node: Node) -> bool:
    """Whether a layer unsets the key: the bare word ``none``, or a file's ``unset`` list."""
    return node.value is UNSET or (isinstance(node.value, Text) and node.value.raw.strip() == "none")


def candidates(text: Text, annotation: Any) -> list[Any]:
    """What the text may mean for a key of this type, the likeliest first."""
    if takes_only_strings(annotation):
        return [text.string()]
    value = text.value()
    if not takes_strings(annotation) or value == text.raw:
        return [value]
    return [value, text.string()]


def as_part(text: Text) -> Node:
    """For a key that holds a part: a table, a list of parts, or a name."""
    value = text.value()
    return node_tree(value if isinstance(value, dict | list) else text.string(), COMMAND_LINE)


def read_overrides(tokens: Iterable[str], problems: list[Problem]) -> Iterator[Override]:
    """The tokens' overrides as they were typed; a token that is none is added to ``problems``."""
    waiting = list(tokens)
    while waiting:
        token = waiting.pop(0)
        flag, equals, raw = token.partition("=")
        path = split_key(flag[2:]) if flag.startswith("--") else None
        if path is None:
            message = "expected --table.key VALUE, with a dotted key of the recipe"
            problems.append(Problem(COMMAND_LINE, token, None, message))
            continue
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                message = f"expected a value after it: {flag} VALUE (a switch too: {flag} true)"
                problems.append(Problem(COMMAND_LINE, dotted(path), None, message))
                continue
            raw = waiting.pop(0)
        if path == ("trainer",):
            message = (
                "trainer is a table of options, not a part that can be named whole; "
                "override its keys one by one: --trainer.max_steps 2000"
            )
            problems.append(Problem(COMMAND_LINE, "trainer", raw, message))
            continue
        yield Override(path, raw)


def _find_contradictions(overrides: Sequence[Override], problems: list[Problem]) -> None:
    said: dict[tuple[str, ...], Override] = {}
    for override in overrides:
        for path, value in _named(override):
            other = said.setdefault(path, override)
            if other is not override and dict(_named(other))[path] != value:
                message = (
                    f"given twice with different values: --{dotted(other.path)} {other.raw} "
                    f"and --{dotted(override.path)} {override.raw}"
                )
                problems.append(Problem(COMMAND_LINE, dotted(override.path), None, message))


def _named(override: Override) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What an override fixes: its key, and the name of the part where it says one."""
    value = Text(override.raw).value()
    yield override.path, value
    if override.path[-1] != "name":
        name = value.get("name") if isinstance(value, dict) else value
        if isinstance(name, str):
            yield (*override.path, "name"), name
