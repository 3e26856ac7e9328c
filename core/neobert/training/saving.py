"""A save: the checkpoint first, then the export, then retention."""

from __future__ import annotations

from pathlib import Path

import torch
from attrs import define, field

from neobert.export import export_model
from neobert.recipe import Recipe
from neobert.training.assemble import Parts
from neobert.training.checkpoints import Progress, prune, save_checkpoint
from neobert.training.display import Display
from neobert.training.loop import Position
from neobert.training.run_directory import CHECKPOINTS, EXPORTS
from neobert.training.state import layout_of


@define(kw_only=True)
class Saver:
    """Writes ``checkpoints/<step>`` and ``model_checkpoints/<step>``, and keeps the newest of each."""

    recipe: Recipe
    parts: Parts
    directory: Path
    display: Display
    notes: list[str] = field(factory=list)
    """What the newest export had to say, for the summary."""

    def save(self, position: Position) -> None:
        """Saves everything at the position."""
        parts, step = self.parts, position.step
        state = parts.state.collect()
        save_checkpoint(
            self.directory / CHECKPOINTS,
            self._progress(position, state),
            state,
            parts.checkpointer,
            self.recipe.to_toml(),
            parts.tokenizer,
        )
        export = self.directory / EXPORTS / str(step)
        objective = parts.objective
        self.notes = list(export_model(export, objective.encoder, objective.loss, self.recipe, parts.context))
        for kind in (CHECKPOINTS, EXPORTS):
            prune(self.directory / kind, self.recipe.trainer.save_total_limit)
        self.display.note(f"step {step}  saved {self.directory / CHECKPOINTS / str(step)}")

    def _progress(self, position: Position, state: dict[str, object]) -> Progress:
        return Progress(
            step=position.step,
            cursor=position.cursor.to_json(),
            tokens_seen=position.tokens_seen,
            meter=position.meter.state(),
            evaluations=position.evaluations,
            skipped_steps=position.skipped_steps,
            optimizer_layout=layout_of(state),
            data_fingerprint=self.parts.training_data.fingerprint,
            tokenizer_fingerprint=self.parts.tokenizer_fingerprint,
            num_threads=torch.get_num_threads(),
            world_size=self.parts.context.world_size,
        )
