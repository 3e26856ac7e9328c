"""What a person is told when something is wrong. The commands print these without a traceback."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen


class UserError(Exception):
    """A mistake that the person who runs the command can mend: printed as it is, exit status 2."""


class Terminated(BaseException):
    """SIGTERM came while there was nothing to finish and save."""


class NotBuiltError(RuntimeError):
    """A part asked its context for something that is built later, or not at all."""


@frozen
class Problem:
    """One fault of a recipe: where it stands, what was found there, and how to mend it."""

    where: str
    """``file:line`` of the key, or ``command line``."""
    key: str
    """The dotted key, such as ``model.attn_backend``; empty when the whole file is meant."""
    value: str | None
    """What was found, as TOML writes it; None when there is nothing to show."""
    message: str
    """What was expected, the nearest name, and further lines that help."""

    def __str__(self) -> str:
        found = "" if self.value is None else f" = {self.value}"
        head = f"{self.where}: {self.key}{found}" if self.key else self.where
        body = "\n".join(f"  {line}" for line in self.message.splitlines())
        return f"{head}\n{body}"


class RecipeError(UserError):
    """Every fault of a recipe, in one answer."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
