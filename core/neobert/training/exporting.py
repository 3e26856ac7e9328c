"""The folders of a step that other libraries open: of the weights, and of their average."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, field

from neobert.export import export_model
from neobert.export.provenance import Origin
from neobert.files import has_manifest, remove_folder
from neobert.recipe import Recipe
from neobert.run_folder import AVERAGED_EXPORTS, EXPORTS
from neobert.training.assemble import Parts
from neobert.training.whole import whole_parts

if TYPE_CHECKING:
    from neobert.training.loop import Position


@define
class Exporter:
    """Writes ``model_checkpoints/<step>``, and ``ema_model_checkpoints/<step>`` where a run has an average."""

    recipe: Recipe
    parts: Parts
    directory: Path
    notes: tuple[str, ...] = field(default=(), init=False)
    """What the newest export had to say, for the summary."""

    def is_complete(self, position: Position) -> bool:
        """Whether a step has all its exports."""
        kinds = (EXPORTS, *((AVERAGED_EXPORTS,) if self.parts.average is not None else ()))
        return all(has_manifest(self.directory / kind / str(position.step)) for kind in kinds)

    def export(self, position: Position) -> None:
        """On the first rank. Every rank has to call it: those that have a part of the weights give it."""
        self.notes = self._export(EXPORTS, position)
        if self.parts.average is not None:
            with self.parts.average.in_place():
                self._export(AVERAGED_EXPORTS, position)

    def _export(self, kind: str, position: Position) -> tuple[str, ...]:
        parts = whole_parts(self.recipe, self.parts)
        if not parts.ranks.first:
            return ()
        folder = self.directory / kind / str(position.step)
        if folder.exists():  # of the same step: a run that stops where it has just saved
            remove_folder(folder)
        losses = {name: view.own_objective.loss for name, view in parts.each.items()}
        origin = Origin(
            step=position.step,
            tokens_seen=position.tokens_seen,
            data_fingerprint=parts.training_data.fingerprint,
            tokenizer_fingerprint=parts.tokenizer_fingerprint,
            averaged=kind == AVERAGED_EXPORTS,
            evaluations=position.evaluations,
        )
        return export_model(folder, parts.objective.encoder, losses, self.recipe, parts.context, origin)
