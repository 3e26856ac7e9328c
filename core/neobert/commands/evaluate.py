"""``--evaluate FOLDER --tasks KIND=FILE ...``: how good a folder's embeddings are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.arguments import UsageError
from neobert.commands.output import free

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


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
    tasks = read_tasks(arguments.given["--tasks"])
    model, results = evaluate(Path(str(arguments.value("--evaluate"))), tasks)
    console.print(Text(model.description), soft_wrap=True)
    done = []
    for result in results:
        show(console, result)
        done.append(result)
    if file is not None:
        write_json(file, as_json(model, done))
        console.print(Text(f"\nwritten to {file}"), soft_wrap=True)
    return 0
