"""Killed between a checkpoint and its export: on resuming, the export is written, and a last step is finished."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from neobert.errors import UserError
from neobert.training import exporting
from neobert.training.finish import is_finished

Run = Callable[..., tuple[int, str]]
COMMON = ("--trainer.max_steps=4", "--trainer.save_steps=2")
LATEST = "--trainer.resume_from_checkpoint=latest"


class Killed(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("step", [2, 4])
def test_the_export_and_the_end_are_made_up_for(go: Run, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    go("--trainer.output_dir=whole", *COMMON)
    export = exporting.export_model

    def killed(folder: Path, *arguments: Any) -> tuple[str, ...]:
        if folder.name == str(step):
            raise Killed
        return export(folder, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(exporting, "export_model", killed)
        with pytest.raises(Killed):
            go(*COMMON)
    assert Path("run/checkpoints", str(step)).is_dir()
    assert not is_finished(Path("run"), 4)
    status, said = go(*COMMON, LATEST)
    assert status == 0
    assert f"step {step}  exported, which the run was killed before it could do" in said
    for place in ("model_checkpoints/2/model.safetensors", "model_checkpoints/4/model.safetensors", "summary.json"):
        assert Path("run", place).read_bytes() == Path("whole", place).read_bytes()
    assert is_finished(Path("run"), 4)
    with pytest.raises(UserError, match="nothing is left to do"):
        go(*COMMON, LATEST)
