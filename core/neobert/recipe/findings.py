"""What comes to light while a recipe is structured."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from attrs import define, field

from neobert.errors import Problem
from neobert.recipe.nodes import COMMAND_LINE, Key, Node, dotted
from neobert.recipe.unknown import Table, Unknown, is_moved, shown_value, unknown_problems

if TYPE_CHECKING:
    from neobert.registry import Registry


@define
class Findings:
    """Faults, origins, and which keys exist: filled by the structurer, read when it is done."""

    registry: Registry
    recipe: str
    """Where the recipe itself stands, for what is missing altogether."""
    complete: bool = True
    """False where a layer could not be read: then what is missing here may stand there."""
    problems: list[Problem] = field(factory=list)
    origins: dict[str, str] = field(factory=dict)
    tables: dict[Key, Table] = field(factory=dict)
    unknown: list[Unknown] = field(factory=list)

    def fault(self, node: Node, path: Key, message: str) -> None:
        """A value that its key does not take."""
        self.problems.append(Problem(node.where, dotted(path), shown_value(node), message))

    def said(self, path: Key, where: str) -> None:
        """Where a value of the recipe comes from."""
        self.origins[dotted(path)] = where

    def missing(self, where: str | None, path: Key, message: str) -> None:
        """A key that has to be given and is not."""
        if self.complete:
            self.problems.append(Problem(where or self.recipe, dotted(path), None, message))

    def leftover(self, stacks: dict[str, list[Node]], path: Key, *, certain: bool = True, named: bool = True) -> None:
        """Keys that nobody took.

        Where no plugin was found that could take them (``certain`` is False), these are unknown all the same:
        keys of an older tool, and keys that are nearly ``name`` or one that the core serves.
        """
        for key, stack in stacks.items():
            here = (*path, key)
            nearly = get_close_matches(key, self.tables[path].keys, n=1, cutoff=0.85 if named else 0.6)
            if certain or nearly or is_moved(here):
                self.unknown += [Unknown(here, node) for node in stack]

    def all_problems(self) -> list[Problem]:
        """Every fault, in the order of files and lines, each once."""
        found = list(self.problems)
        for unknown in self.unknown:
            found += unknown_problems(unknown, self.tables, self.registry)
        return sorted(dict.fromkeys(found), key=_place)


def _place(problem: Problem) -> tuple[bool, str, int]:
    file, _, line = problem.where.rpartition(":")
    command_line = problem.where == COMMAND_LINE
    return (command_line, file, int(line)) if line.isdigit() else (command_line, problem.where, 0)
