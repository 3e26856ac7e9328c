"""The command line, read into what is asked for.

An override is a dotted key or the name of a recipe's table; every other flag is the tool's own.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from neobert.errors import UserError
from neobert.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence


class UsageError(UserError):
    """A command line that cannot be meant."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}\n  neobert-run --help says more")


@frozen
class Flag:
    """A flag of the tool itself."""

    name: str
    values: tuple[str, ...]
    """What the help calls the values that follow it."""
    help: str
    command: str | None = None
    """The module of `neobert.commands` that it asks for; None for a flag that only adds to one."""
    takes_recipe: bool = False
    """Whether its command works on RECIPE and overrides."""
    optional: bool = False
    """Whether its value, a number, may be left out."""
    several: bool = False
    """Whether it takes all values up to the next flag, one at least."""
    takes_folder: bool = False
    """Whether a bare word of its command line is the folder that it writes."""


FLAGS = (
    Flag(
        "--check",
        (),
        "say what RECIPE means and costs, or everything that is wrong with it; do nothing",
        "check",
        takes_recipe=True,
    ),
    Flag(
        "--show-batch",
        ("[N]",),
        "print RECIPE's first N micro-batches (1 unless told) as people read them, masks and all",
        "show_batch",
        takes_recipe=True,
        optional=True,
    ),
    Flag("--data-report", (), "say what RECIPE's data comes to: documents, lengths, fill, epochs", "data_report", True),
    Flag(
        "--audit-data",
        ("STEPS",),
        "walk RECIPE's plan that far without training: does every document come once an epoch?",
        "audit_data",
        takes_recipe=True,
    ),
    Flag(
        "--profile",
        ("STEPS",),
        "train RECIPE for so many steps and say where their time goes; the trace: trainer.output_dir with -profile",
        "profile",
        takes_recipe=True,
    ),
    Flag(
        "--preprocess",
        (),
        "select RECIPE's rows, make its tokenizer, tokenize; print the tables to use on other machines",
        "preprocess",
        takes_recipe=True,
    ),
    Flag(
        "--evaluate",
        ("FOLDER",),
        "measure a run, a checkpoint, an export or another model's folder on --tasks",
        "evaluate",
    ),
    Flag(
        "--tasks",
        ("KIND=FILE ...",),
        "with --evaluate: retrieval=, similarity=, classification=, labelled= or pseudo_perplexity= with a file, mteb= "
        "with a task's name",
        several=True,
    ),
    Flag("--stream-tokens", ("N",), "with pseudo_perplexity=: tokens of a stream of masked copies, at most (16,384)"),
    Flag("--sample", ("N",), "with pseudo_perplexity=: score so many tokens of all, drawn by a fixed seed"),
    Flag(
        "--long-texts",
        ("HOW",),
        "with pseudo_perplexity=: score a text that is longer than the model's sequences in `windows` (unset), or "
        "`refuse` it",
    ),
    Flag(
        "--fill-mask",
        ("FOLDER", "TEXT ..."),
        "what a model guesses for each [MASK] or <mask> in texts: a run, a checkpoint, an export, or another's folder",
        "fill_mask",
        several=True,
    ),
    Flag("--top", ("N",), "with --fill-mask: so many guesses for each mask (5)"),
    Flag(
        "--output",
        ("PATH",),
        "with --preprocess: the data's folder (unset: trainer.output_dir with -data); with --evaluate, --fill-mask "
        "and --compare: a JSON file; with --report: the page (unset: report.html in the run's folder)",
    ),
    Flag(
        "--report",
        ("RUN ...",),
        "write one HTML page about a run, or several beside each other: curves, tables, data, recipe",
        "report",
        several=True,
    ),
    Flag(
        "--compare", ("RUN ...",), "print what runs came to, side by side, and how they differ", "compare", several=True
    ),
    Flag("--status", ("RUN",), "how far a run's folder is, and whether its run is alive", "status"),
    Flag(
        "--replay",
        ("FOLDER",),
        "run a step that went wrong again, from the folder that its run kept of it: where is it first not finite?",
        "replay",
    ),
    Flag(
        "--fill",
        (),
        "print RECIPE with every key that it leaves out, at its default and with its help",
        "fill",
        takes_recipe=True,
    ),
    Flag(
        "--diff", ("A", "B"), "how two recipes differ; a run's or a checkpoint's folder stands for its recipe", "diff"
    ),
    Flag("--list-recipes", (), "list the recipes that come with the tool: neobert-run NAME runs one", "list_recipes"),
    Flag("--copy-recipe", ("NAME", "FILE"), "copy such a recipe, to change it", "copy_recipe"),
    Flag(
        "--from-neobert",
        ("CONFIG", "FILE"),
        "turn a settings file (YAML) of the published NeoBERT training code into a recipe, and say what became of it",
        "from_neobert",
    ),
    Flag("--schema", (), "print a JSON schema of recipes, by which editors complete and check them", "schema"),
    Flag(
        "--list-plugins",
        (),
        "list what a recipe can name: where it comes from, whether it runs here",
        "listing",
    ),
    Flag(
        "--new-plugin",
        ("NAME",),
        "write a plugin of your own to begin with: a tested distribution of --kind, in FOLDER (unset: NAME)",
        "new_plugin",
        takes_folder=True,
    ),
    Flag("--kind", ("KIND",), "with --list-plugins: this kind only; with --new-plugin: what it is to be"),
    Flag("--all", (), "with --list-plugins: what each entry point would import, and import none of them"),
    Flag("--json", (), "with --list-plugins or --status: for programs"),
    Flag("--explain", ("KIND.NAME",), "a plugin's options, or those of the table `trainer`", "explain"),
    Flag(
        "--export",
        ("CHECKPOINT", "FOLDER"),
        "write a checkpoint as a folder that other libraries load",
        "export",
    ),
    Flag("--ema", (), "with --export: the moving average of the weights (trainer.ema) instead of the weights"),
    Flag("--format", ("FORMAT",), "with --export: safetensors, or onnx for onnx/model.onnx in the folder besides"),
    Flag("--version", (), "print the version", "version"),
    Flag("--help", (), "print this", "help"),
)
_BY_NAME = {flag.name: flag for flag in FLAGS}
_GOES_WITH = {
    "--kind": ("--list-plugins", "--new-plugin"),
    "--all": ("--list-plugins",),
    "--json": ("--list-plugins", "--status"),
    "--output": ("--preprocess", "--evaluate", "--fill-mask", "--report", "--compare"),
    "--tasks": ("--evaluate",),
    "--stream-tokens": ("--evaluate",),
    "--sample": ("--evaluate",),
    "--long-texts": ("--evaluate",),
    "--top": ("--fill-mask",),
    "--ema": ("--export",),
    "--format": ("--export",),
}


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
    for name, owners in _GOES_WITH.items():
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
