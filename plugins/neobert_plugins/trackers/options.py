"""Options of the trackers. Light: what they write with is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import field, frozen

if TYPE_CHECKING:
    from neobert import BuildContext
    from neobert.interfaces import Tracker


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
