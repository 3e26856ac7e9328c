"""MLflow: where it keeps runs, and the names that it takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from accelerate.tracking import MLflowTracker
from attrs import frozen

from neobert_plugins.trackers.through_accelerate import AccelerateTracker, started

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_URI = "MLFLOW_TRACKING_URI"
_REFUSED = re.compile(r"[^\w\-. :/]", re.ASCII)
"""What MLflow has in no metric's name, such as the @ of mrr@10."""


@frozen
class MLflowRun:
    """A started run in one store, whatever store another run of this process has."""

    inner: AccelerateTracker
    uri: str

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes the metrics of a step."""
        with _store(self.uri):
            self.inner.log(accepted(metrics), step)

    def close(self) -> None:
        """Writes what is left and ends the run."""
        with _store(self.uri):
            self.inner.close()


def open_mlflow(run_directory: Path, *, experiment: str, run_name: str | None, tracking_uri: str | None) -> MLflowRun:
    """A run of the experiment, which is made where there is none."""
    uri, artifacts = tracking_uri or os.environ.get(_URI), None
    if uri is None:
        run_directory.mkdir(parents=True, exist_ok=True)
        uri = f"sqlite:///{run_directory.absolute() / 'mlflow.db'}"
        artifacts = (run_directory.absolute() / "mlflow").as_uri()
    with _store(uri):
        name = run_name or run_directory.name
        return MLflowRun(started(MLflowTracker(experiment, logging_dir=artifacts, run_name=name)), uri)


def accepted(metrics: Mapping[str, float]) -> dict[str, float]:
    """The metrics under names that MLflow takes. Of two that become one, the later gets a number."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        plain, number = _REFUSED.sub("_", name), 2
        taken = plain
        while taken in found:
            taken, number = f"{plain}_{number}", number + 1
        found[taken] = value
    return found


@contextmanager
def _store(uri: str) -> Iterator[None]:
    """Inside, MLflow writes there. It keeps this in the environment as well, which is left as it was."""
    import mlflow

    before = os.environ.get(_URI)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ[_URI] = before
