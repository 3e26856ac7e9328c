"""``--status RUN``: how far a run is, and whether it is alive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import asdict

from neobert.watching.status import RunStatus, lines_of, read_status

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments

NOT_RUNNING = 1


def run(arguments: Arguments) -> int:
    """Prints it. Returns 0 for a run that goes on or is at its end, 1 for one that was stopped or killed before."""
    status = read_status(Path(str(arguments.value("--status"))))
    if "--json" in arguments.given:
        print(json.dumps(_values(status), indent=2))
    else:
        print("\n".join(lines_of(status)))
    return 0 if status.life == "running" or status.at_its_end else NOT_RUNNING


def _values(status: RunStatus) -> dict[str, object]:
    return {
        "run": str(status.run),
        "life": status.life,
        "last_checkpoint": status.last_checkpoint,
        "seconds_left": status.seconds_left,
        "seconds_since_last_word": status.silence,
        "heartbeat": None if status.beat is None else asdict(status.beat),
    }
