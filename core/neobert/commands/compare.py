"""``--compare RUN RUN ...``: what runs came to, side by side, and how their recipes differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.arguments import UsageError
from neobert.commands.output import free

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints a table of figures and one of differences; with ``--output`` they are written as JSON too."""
    said = arguments.given["--compare"]
    if len(said) < 2:
        msg = f"--compare needs two runs at least, got {said[0]!r}; of one alone: neobert-run --report {said[0]}"
        raise UsageError(msg)
    output = arguments.value("--output")
    file = None if output is None else free(Path(output))

    from rich.console import Console
    from rich.text import Text

    from neobert.files import write_json
    from neobert.report.figures import figures_of, recipe_differences
    from neobert.report.run import read_runs
    from neobert.report.terminal import show

    runs = read_runs(said)
    figures, differences = [figures_of(it) for it in runs], recipe_differences([it.recipe for it in runs])
    console = Console(highlight=False)
    show(console, figures, differences, [f"{it.name}: {note}" for it in runs for note in it.notes])
    if file is not None:
        values = {
            "runs": [it.to_json() for it in figures],
            "recipe_differences": [{"key": it.key, "values": list(it.values)} for it in differences],
        }
        write_json(file, values)
        console.print(Text(f"\nwritten to {file}"), soft_wrap=True)
    return 0
