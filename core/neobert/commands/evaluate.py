"""``--evaluate FOLDER --tasks KIND=FILE ...``: how good a folder's model is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neobert.commands.arguments import UsageError
from neobert.commands.output import free

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments
    from neobert.evaluation.pseudo_task import PseudoOptions


def run(arguments: Arguments) -> int:
    """Prints a table for each task; with ``--output`` they are written as JSON too."""
    if not arguments.given.get("--tasks"):
        msg = "--evaluate needs --tasks, such as: --tasks retrieval=pairs.jsonl similarity=scored.jsonl"
        raise UsageError(msg)
    output = arguments.value("--output")
    file = None if output is None else free(Path(output))

    from rich.console import Console
    from rich.text import Text

    from neobert.evaluation.report import as_json, show
    from neobert.evaluation.run import evaluate, read_tasks
    from neobert.files import write_json

    console = Console(highlight=False)
    tasks = read_tasks(arguments.given["--tasks"], _pseudo_options(arguments))
    models, results = evaluate(Path(str(arguments.value("--evaluate"))), tasks)
    console.print(Text(models.description), soft_wrap=True)
    done = []
    for result in results:
        show(console, result)
        done.append(result)
    if file is not None:
        write_json(file, as_json(models, done))
        console.print(Text(f"\nwritten to {file}"), soft_wrap=True)
    return 0


def _pseudo_options(arguments: Arguments) -> PseudoOptions | None:
    """What the flags of pseudo-perplexity say; None where there is none of them."""
    from neobert.evaluation.pseudo_task import LONG_TEXTS, PseudoOptions

    given: dict[str, Any] = {}
    for flag, key in (("--stream-tokens", "stream_tokens"), ("--sample", "sample")):
        if flag in arguments.given:
            given[key] = whole_number(arguments, flag)
    how = arguments.value("--long-texts")
    if how is not None and how not in LONG_TEXTS:
        msg = f"--long-texts {how}: expected {' or '.join(LONG_TEXTS)}"
        raise UsageError(msg)
    given |= {} if how is None else {"long_texts": how}
    return PseudoOptions(**given) if given else None


def whole_number(arguments: Arguments, flag: str) -> int:
    """The value of a flag, at least 1; raises UsageError for what is none."""
    value = str(arguments.value(flag))
    if not value.isdecimal() or int(value) < 1:
        msg = f"{flag} {value}: expected a whole number, 1 or more"
        raise UsageError(msg)
    return int(value)
