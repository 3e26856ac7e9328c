"""What a run has left, from outside of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from attrs import field, frozen

from neobert.api.metrics import Metrics, read_metrics
from neobert.errors import UserError
from neobert.run_folder import (
    AVERAGED_EXPORTS,
    CHECKPOINTS,
    ENVIRONMENT,
    EXPORTS,
    METRICS,
    SUMMARY,
    not_there,
    saved_exports,
    saved_steps,
)


def _run_folder(path: str | os.PathLike[str]) -> Path:
    return Path(os.path.abspath(path))


@frozen
class Run:
    """A run's folder: ``Run("runs/pretrain")``, and what `neobert.run` returns. It is a path, too (`os.PathLike`).

    What is asked for is read when it is asked for, so that a run that goes on can be watched. Raises UserError where
    the folder is no run's, and where it has not got what is asked for (yet).
    """

    directory: Path = field(converter=_run_folder)
    """Absolute."""
    status: int | None = None
    """As `neobert.run` ended: 0 at ``trainer.max_steps``, 3 where the data ended before; None where it is not known."""

    def __attrs_post_init__(self) -> None:
        if not (self.directory / ENVIRONMENT).is_file():
            there = self.directory.is_dir()
            why = f"it has no {ENVIRONMENT}" if there else not_there(self.directory)
            msg = f"{self.directory} is no run's folder: {why}"
            raise UserError(msg)

    def __fspath__(self) -> str:
        return str(self.directory)

    @property
    def metrics(self) -> Metrics:
        """Everything that was logged, a `Series` for each metric; read anew each time."""
        return read_metrics(self.directory / METRICS)

    @property
    def summary(self) -> dict[str, Any]:
        """The figures that it ended with, as docs/library.md lists them."""
        file = self.directory / SUMMARY
        try:
            return dict(json.loads(file.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            msg = f"there is no {file}: the run has not come to its end"
            raise UserError(msg) from error
        except ValueError as error:
            msg = f"{file} cannot be read: {error}"
            raise UserError(msg) from error

    @property
    def recipe(self) -> Path:
        """The recipe with every value filled in."""
        return self.directory / "recipe.toml"

    @property
    def step(self) -> int:
        """That of the newest checkpoint."""
        return self._newest(CHECKPOINTS, saved_steps(self.directory))

    @property
    def checkpoint(self) -> Path:
        """The newest."""
        return self.directory / CHECKPOINTS / str(self.step)

    @property
    def export(self) -> Path:
        """The newest folder that other libraries load."""
        return self._export(EXPORTS)

    @property
    def averaged_export(self) -> Path:
        """The same of the averaged weights (``trainer.ema``)."""
        return self._export(AVERAGED_EXPORTS)

    @property
    def best_export(self) -> Path:
        """That of the best step (``trainer.metric_for_best``)."""
        best = self.summary.get("best")
        if best is None:
            msg = f"{self.directory} has no best step: trainer.metric_for_best was unset"
            raise UserError(msg)
        return self.directory / EXPORTS / str(best["step"])

    def _export(self, kind: str) -> Path:
        return self.directory / kind / str(self._newest(kind, saved_exports(self.directory, kind)))

    def _newest(self, kind: str, steps: list[int]) -> int:
        if not steps:
            msg = f"{self.directory} has nothing whole in {kind}/"
            raise UserError(msg)
        return steps[-1]
