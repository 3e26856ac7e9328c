"""``--export CHECKPOINT FOLDER [--ema] [--format onnx]``: a checkpoint as a folder that other libraries load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from neobert.commands.arguments import UsageError
from neobert.errors import UserError
from neobert.wording import did_you_mean, listed

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


FORMATS = ("safetensors", "onnx")
"""What lies in the folder: weights and configuration, and with the second an ONNX file besides."""


def run(arguments: Arguments) -> int:
    checkpoint, folder = map(Path, arguments.given["--export"])
    if not checkpoint.is_dir():
        msg = f"there is no checkpoint folder {checkpoint}: it is a folder such as runs/NAME/checkpoints/1000"
        raise UserError(msg)

    wanted = arguments.value("--format") or FORMATS[0]
    if wanted not in FORMATS:
        msg = f"--format {wanted}: unknown{did_you_mean(wanted, FORMATS)}; expected {listed(FORMATS, 'or')}"
        raise UsageError(msg)

    from neobert.training.export_checkpoint import export_checkpoint

    print(export_checkpoint(checkpoint, folder, averaged="--ema" in arguments.given, onnx=wanted == "onnx"))
    return 0
