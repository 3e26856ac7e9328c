"""Options of the trackers. Light: what they write with is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from attrs import Attribute

    from neobert import BuildContext
    from neobert.interfaces import Tracker


def _without_quote(instance: object, attribute: Attribute[str], value: str) -> None:
    """accelerate looks for the experiment with a filter in which a quote ends its name."""
    if "'" in value or not value.strip():
        msg = "expected a name without a single quote"
        raise ValueError(msg)


@frozen(kw_only=True)
class Jsonl:
    """One JSON object a line in the run folder's metrics.jsonl."""

    def build(self, context: BuildContext) -> Tracker:
        """Appends to the file that may be there."""
        from neobert_plugins.trackers.jsonl import JsonlTracker

        return JsonlTracker(context.run_directory / "metrics.jsonl")


@frozen(kw_only=True)
class TensorBoard:
    """TensorBoard event files in the run folder's tensorboard/."""

    requires: ClassVar[tuple[str, ...]] = ("tensorboard",)

    def build(self, context: BuildContext) -> Tracker:
        """Through accelerate's tracker."""
        from neobert_plugins.trackers.through_accelerate import open_tensorboard

        return open_tensorboard(context.run_directory)


@frozen(kw_only=True)
class Wandb:
    """Weights & Biases."""

    requires: ClassVar[tuple[str, ...]] = ("wandb",)

    project: str = field(default="neobert", metadata={"help": "project that the run belongs to"})
    entity: str | None = field(default=None, metadata={"help": "user or team; unset: the account's own"})
    run_name: str | None = field(default=None, metadata={"help": "name of the run; unset: the run folder's"})
    mode: Literal["online", "offline", "disabled"] = field(
        default="online", metadata={"help": "offline writes into the run folder, to be sent by `wandb sync`"}
    )

    def build(self, context: BuildContext) -> Tracker:
        """Through accelerate's tracker; its files lie in the run folder."""
        from neobert_plugins.trackers.through_accelerate import open_wandb

        return open_wandb(
            context.run_directory,
            project=self.project,
            entity=self.entity,
            run_name=self.run_name,
            mode=self.mode,
        )


@frozen(kw_only=True)
class MLflow:
    """MLflow: a server, or a database in the run folder."""

    requires: ClassVar[tuple[str, ...]] = ("mlflow-skinny>=3.0", "sqlalchemy>=2.0", "alembic>=1.13")

    experiment: str = field(
        default="neobert",
        validator=_without_quote,
        metadata={"help": "experiment that the run belongs to; MLFLOW_EXPERIMENT_NAME goes before it"},
    )
    run_name: str | None = field(default=None, metadata={"help": "name of the run; unset: the run folder's"})
    tracking_uri: str | None = field(
        default=None,
        metadata={"help": "server or database; unset: MLFLOW_TRACKING_URI, and without it mlflow.db in the run folder"},
    )

    def build(self, context: BuildContext) -> Tracker:
        """Through accelerate's tracker. Characters that MLflow refuses in a metric's name become ``_``."""
        from neobert_plugins.trackers.mlflow_store import open_mlflow

        return open_mlflow(
            context.run_directory,
            experiment=self.experiment,
            run_name=self.run_name,
            tracking_uri=self.tracking_uri,
        )


@frozen(kw_only=True)
class Trackio:
    """Trackio: a local database, or a Space of the Hugging Face hub."""

    requires: ClassVar[tuple[str, ...]] = ("trackio>=0.20",)

    project: str = field(default="neobert", metadata={"help": "project that the run belongs to"})
    run_name: str | None = field(default=None, metadata={"help": "name of the run; unset: the run folder's"})
    space_id: str | None = field(
        default=None, metadata={"help": "Space to send to; unset: kept in TRACKIO_DIR, by default in the hub's cache"}
    )

    def build(self, context: BuildContext) -> Tracker:
        """Through accelerate's tracker."""
        from neobert_plugins.trackers.through_accelerate import open_trackio

        return open_trackio(context.run_directory, project=self.project, run_name=self.run_name, space_id=self.space_id)
