"""``--from-neobert CONFIG OUT``: a settings file of the published NeoBERT training code, as a recipe."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints what became of each setting. Status 2 where the recipe is not whole yet."""
    from neobert.published.recipes import convert_file

    source, target = map(Path, arguments.given["--from-neobert"])
    said, problems = convert_file(source, target)
    print(said)
    if not problems:
        print(f"check it: neobert-run {target} --check")
        return 0
    print(f"{target} is not whole yet; mend in it:", file=sys.stderr)
    for problem in problems:
        print(f"{target}: {problem.key}\n  {problem.message}", file=sys.stderr)
    return 2
