"""What a folder is that somebody wants evaluated: a checkpoint, an export of ours, or a model of anybody's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from attrs import frozen

from neobert.errors import UserError
from neobert.export.sentence_files import MODULES_FILE
from neobert.labels import Labels
from neobert.recipe import Recipe
from neobert.run_folder import CHECKPOINTS, inside_of_run, not_there
from neobert.training.checkpoints import PROGRESS_FILE, RECIPE_FILE, newest_intact

CONFIG_FILE = "config.json"


@frozen
class Located:
    """A folder with a model in it."""

    path: Path
    """Of a run, its newest intact checkpoint."""
    kind: Literal["checkpoint", "export", "stranger"]
    """An ``export`` has our recipe beside its weights; a ``stranger`` has none."""
    native: bool = True
    """Whether stock transformers, or sentence-transformers, opens it; of a checkpoint it does not matter."""


def locate(folder: Path) -> Located:
    """Raises UserError where there is nothing that can be opened, with what was looked for."""
    if not folder.is_dir():
        found = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}: {not_there(folder)}"
        msg = f"{found}\nexpected: a run, one of its checkpoints or exports, or another model's folder"
        raise UserError(msg)
    if (folder / CHECKPOINTS).is_dir():
        checkpoint, _ = newest_intact(folder / CHECKPOINTS)
        if checkpoint is None:
            msg = f"{folder} is a run without a complete checkpoint"
            raise UserError(msg)
        return Located(checkpoint, "checkpoint")
    if (folder / PROGRESS_FILE).is_file():
        return Located(folder, "checkpoint")
    if not (folder / CONFIG_FILE).is_file() and not (folder / MODULES_FILE).is_file():
        files = f"{PROGRESS_FILE} (a checkpoint), {MODULES_FILE} or {CONFIG_FILE} (a model)"
        msg = "\n".join(filter(None, (f"{folder} holds no model: it has no {files}", inside_of_run(folder))))
        raise UserError(msg)
    if (folder / RECIPE_FILE).is_file():
        return Located(folder, "export", _is_native(folder))
    return Located(folder, "stranger")


def labels_beside(folder: Path, recipe: Recipe) -> dict[str, Labels]:
    """What an export's configuration calls the classes of the labels that it was trained on, for each objective."""
    said = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("id2label") or {}
    names = tuple(str(said[key]) for key in sorted(said, key=int))
    return dict.fromkeys(recipe.views, Labels(names)) if names else {}


def _is_native(folder: Path) -> bool:
    from neobert.export.native import is_native

    try:
        return is_native(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        msg = f"{folder / CONFIG_FILE} cannot be read: {error}"
        raise UserError(msg) from error
