"""A save that the disk does not take."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError

from neobert.errors import UserError
from neobert.files import faults
from neobert.training import exporting

Run = Callable[..., tuple[int, str]]


def test_no_space_names_what_is_left_and_how_to_go_on(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    export = exporting.export_model

    def full(folder: Path, *arguments: object) -> tuple[str, ...]:
        if folder.name == "4":
            msg = "Error while serializing: I/O error: No space left on device (os error 28)"
            raise SafetensorError(msg)
        return export(folder, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(exporting, "export_model", full)
    with pytest.raises(UserError) as refused:
        go("--trainer.save_steps=2")
    said = str(refused.value)
    assert said.startswith("step 4 could not be saved whole in run: No space left on device\n")
    assert "neobert-run recipe.toml --trainer.save_steps 2 --trainer.resume_from_checkpoint latest" in said
    assert "neobert-run --export run/checkpoints/4 FOLDER" in said
    assert not faults(Path("run/checkpoints/4"))
