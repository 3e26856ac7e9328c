"""``neobert-run --export CHECKPOINT FOLDER``: an export long after the run, from a checkpoint alone."""

from __future__ import annotations

from pathlib import Path

from neobert.errors import UserError
from neobert.export import export_model
from neobert.export.onnx_file import require_onnx
from neobert.files import disk_errors
from neobert.training.checkpoints import origin_of
from neobert.training.trained import load_trained


def export_checkpoint(checkpoint: Path, folder: Path, *, averaged: bool = False, onnx: bool = False) -> str:
    """Builds the checkpoint's model on the CPU, fills it, and writes ``folder``; returns what to tell the user.

    ``averaged``: with the moving average of its weights. ``onnx``: with an ONNX file.
    """
    if onnx:
        require_onnx()
    _refuse_taken(folder)
    trained = load_trained(checkpoint, averaged=averaged, eager=True)
    progress, losses = trained.progress, {name: own.loss for name, own in trained.objectives.items()}
    if folder.exists():
        folder.rmdir()
    with disk_errors():
        origin = origin_of(progress, averaged=averaged)
        notes = export_model(folder, trained.encoder, losses, trained.recipe, trained.context, origin, onnx=onnx)
    what = "the averaged weights of step" if averaged else "step"
    return "\n".join((f"exported {what} {progress.step} to {folder}", *notes))


def _refuse_taken(folder: Path) -> None:
    place = next(place for place in (folder, *folder.parents) if place.exists())
    if not place.is_dir():
        msg = f"{folder} cannot be a folder: {place} is a file"
        raise UserError(msg)
    if place == folder and any(folder.iterdir()):
        msg = f"{folder} exists already; name a folder that does not"
        raise UserError(msg)
