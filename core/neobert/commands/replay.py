"""``--replay FOLDER``: a step that went wrong, run again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert import libraries
from neobert.errors import UserError
from neobert.run_folder import not_there

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Prints its losses and gradient norms, and where they are first not finite."""
    folder = Path(str(arguments.value("--replay")))
    if not folder.exists():
        msg = f"--replay {folder}: {not_there(folder)}"
        raise UserError(msg)
    libraries.import_libraries()

    from neobert.training.replay import lines_of, replay

    for line in lines_of(replay(folder)):
        print(line)
    return 0
