"""``--export CHECKPOINT FOLDER [--ema]``: a checkpoint as a folder that other libraries load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    checkpoint, folder = map(Path, arguments.given["--export"])
    if not checkpoint.is_dir():
        msg = f"there is no checkpoint folder {checkpoint}: it is a folder such as runs/NAME/checkpoints/1000"
        raise UserError(msg)

    from neobert.training.export_checkpoint import export_checkpoint

    print(export_checkpoint(checkpoint, folder, averaged="--ema" in arguments.given))
    return 0
