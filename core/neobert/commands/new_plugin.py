"""``--new-plugin NAME --kind KIND [FOLDER]``: a plugin of one's own to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.arguments import UsageError
from neobert.commands.kind import known_kind
from neobert.kinds import KINDS
from neobert.scaffold import names_for, write_plugin

if TYPE_CHECKING:
    from collections.abc import Sequence

    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    """Writes it; says what was written, and what to do next."""
    name, kind = arguments.given["--new-plugin"][0], arguments.value("--kind")
    if kind is None:
        msg = f"--new-plugin needs --kind KIND: {', '.join(KINDS)}"
        raise UsageError(msg)
    kind = known_kind(kind)
    folder = Path(name if arguments.recipe is None else arguments.recipe)
    print("\n".join(_answer(name, kind, folder, write_plugin(name, kind, folder))))
    return 0


def _answer(name: str, kind: str, folder: Path, files: Sequence[Path]) -> list[str]:
    names = names_for(name)
    shown = [str(file.relative_to(folder)) for file in files if file.stat().st_size]
    return [
        f"wrote {folder}: {kind} {names.plugin}, in the distribution {names.distribution} (package {names.package})",
        *(f"  {file}" for file in shown),
        "next:",
        f"  cd {shlex.quote(str(folder))}",
        "  pip install -e '.[test]' && python -m pytest",
        "  neobert-run recipe.toml",
    ]
