"""The command line, read into what is asked for.

An override is a dotted key or the name of a recipe's table; every other flag is the tool's own.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from neobert.commands.flags import FLAGS, GOES_WITH, Flag
from neobert.errors import UserError
from neobert.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence


class UsageError(UserError):
    """A command line that cannot be meant."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}\n  neobert-run --help says more")


_BY_NAME = {flag.name: flag for flag in FLAGS}


@frozen
class Arguments:
    """What a command line asks for."""

    recipe: str | None = None
    """The bare word: the recipe's path or name, or of a command that takes a folder, that."""
    overrides: tuple[str, ...] = ()
    """As they stood on the command line: a flag, and its value unless joined by ``=``."""
    given: dict[str, tuple[str, ...]] = field(factory=dict)
    """The tool's flags, with their values."""

    @property
    def command(self) -> str:
        """The module of `neobert.commands` that answers."""
        return next((flag.command for flag in FLAGS if flag.name in self.given and flag.command), "train")

    @property
    def path(self) -> str:
        """The recipe's path; `UsageError` where none was given."""
        if self.recipe is None:
            msg = "which recipe? Its path comes first: neobert-run RECIPE"
            raise UsageError(msg)
        return self.recipe

    def value(self, flag: str) -> str | None:
        """The first value of a flag, or None where it was not given."""
        return next(iter(self.given.get(flag, ())), None)


def parse(tokens: Sequence[str]) -> Arguments:
    """Reads the tokens after the program's name; raises `UsageError`."""
    if "--help" in tokens or "-h" in tokens:
        return Arguments(given={"--help": ()})
    arguments, rest = Arguments(), list(tokens)
    while rest:
        token = rest.pop(0)
        name, joined, value = token.partition("=")
        if name in _BY_NAME:
            values = [value] if joined else []
            arguments = _with_flag(arguments, _BY_NAME[name], values, rest)
        elif token.startswith("-") and token != "-":
            arguments = evolve(arguments, overrides=(*arguments.overrides, *_override(token, rest)))
        elif arguments.recipe is None:
            arguments = evolve(arguments, recipe=token)
        else:
            msg = f"{token!r} is too much: there is {arguments.recipe!r} already, and an override begins with --"
            raise UsageError(msg)
    return _consistent(arguments)


def _with_flag(arguments: Arguments, flag: Flag, values: list[str], rest: list[str]) -> Arguments:
    if flag.name in arguments.given:
        msg = f"{flag.name} was given twice"
        raise UsageError(msg)
    if values and not flag.values:
        msg = f"{flag.name} takes no value, got {values[0]!r}"
        raise UsageError(msg)
    if flag.optional and not values and rest and rest[0].isdecimal():
        values.append(rest.pop(0))
    while len(values) < len(flag.values) and not flag.optional:
        if not rest or rest[0].startswith("--"):
            msg = f"{flag.name} needs {' and '.join(flag.values)}"
            raise UsageError(msg)
        values.append(rest.pop(0))
    while flag.several and rest and not rest[0].startswith("--"):
        values.append(rest.pop(0))
    return evolve(arguments, given={**arguments.given, flag.name: tuple(values)})


def _override(token: str, rest: list[str]) -> list[str]:
    """The tokens of one override, its value taken from ``rest`` unless it is joined by ``=``.

    One without a value is passed on as it is: the recipe tells all that is wrong with it in one answer.
    """
    from neobert.recipe.overrides import is_override

    if not is_override(token):
        raise UsageError(_misspelt(token))
    has_value = "=" not in token and rest and not rest[0].startswith("--")
    return [token, rest.pop(0)] if has_value else [token]


def _misspelt(token: str) -> str:
    """Which flag may have been meant: the tool's own, a table, or a key that lacks its table."""
    from neobert.recipe.overrides import TABLES

    name = token.partition("=")[0]
    hint = _whole_key(name.lstrip("-").replace("-", "_"))
    if hint is None:
        known = [*_BY_NAME, *(f"--{table}" for table in TABLES)]
        hint = next(iter(difflib.get_close_matches(f"--{name.lstrip('-')}", known, n=1)), None)
    return f"unknown flag {name}" + (f"; did you mean {hint}?" if hint else "")


def _whole_key(key: str) -> str | None:
    """``--trainer.max_steps`` for ``max_steps``: the dotted flag of a key that one table alone has."""
    import attrs

    from neobert.recipe.trainer import TrainerOptions

    served = {kind.key: kind.served for kind in KINDS.values() if kind.served is not None}
    owners = [table for table, cls in {"trainer": TrainerOptions, **served}.items() if key in attrs.fields_dict(cls)]
    return f"--{owners[0]}.{key}" if len(owners) == 1 else None


def _consistent(arguments: Arguments) -> Arguments:
    commands = [flag.name for flag in FLAGS if flag.command and flag.name in arguments.given]
    if len(commands) > 1:
        msg = f"{' and '.join(commands)} exclude each other"
        raise UsageError(msg)
    for name, owners in GOES_WITH.items():
        if name in arguments.given and not set(commands) & set(owners):
            msg = f"{name} goes with {' or '.join(owners)}"
            raise UsageError(msg)
    if not commands or _BY_NAME[commands[0]].takes_recipe:
        assert arguments.path
        return arguments
    word = None if _BY_NAME[commands[0]].takes_folder else arguments.recipe
    if word is not None or arguments.overrides:
        msg = f"{commands[0]} takes no recipe and no overrides, got {word or arguments.overrides[0]!r}"
        raise UsageError(msg)
    return arguments
