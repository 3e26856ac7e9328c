"""The end of a run that reached its last step."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from attrs import asdict
from rich.console import Console

from neobert.export import opening_command
from neobert.files import write_json
from neobert.recipe import Recipe
from neobert.run_folder import AVERAGED_EXPORTS, CHECKPOINTS, EXPORTS
from neobert.training.assemble import Parts
from neobert.training.best import best_lines
from neobert.training.command import RESUME_KEY, command
from neobert.training.embedding_meter import makes_embeddings
from neobert.training.figures import evaluation_command
from neobert.training.loop import Position
from neobert.training.phrases import masked_phrases
from neobert.training.positions import PositionRow
from neobert.training.run_directory import METRICS
from neobert.training.summary import guard_lines, left_out_lines, mixture_lines, show_summary
from neobert.training.unigram import asks_for_tokens, unigram_cross_entropy

SUMMARY_FILE = "summary.json"


def is_finished(directory: Path, step: int) -> bool:
    """Whether a run came to its summary at this step."""
    try:
        return bool(json.loads((directory / SUMMARY_FILE).read_text(encoding="utf-8"))["step"] == step)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def finish(
    recipe: Recipe, parts: Parts, position: Position, directory: Path, console: Console, notes: Sequence[str]
) -> None:
    """Compares with a unigram model, guesses a few held-out words, and prints where everything lies."""
    unigram, embeds = None, makes_embeddings(parts.objective.loss)
    if parts.evaluation_data is not None and asks_for_tokens(parts.evaluation_data):
        counts = parts.training_data.token_counts(parts.context.vocab_size)
        unigram = unigram_cross_entropy(counts, parts.evaluation_data)
    positions = position_rows(position)
    _write(directory / SUMMARY_FILE, position, unigram, positions)
    longer = {RESUME_KEY: None, "trainer.max_steps": 2 * position.step, "trainer.output_dir": f"{directory}-longer"}
    export, averaged = (directory / kind / str(position.step) for kind in (EXPORTS, AVERAGED_EXPORTS))
    opening = opening_command(export, f"returns the {parts.tokenizer.mask_token} of the list.")
    show_summary(
        console,
        evaluations=position.evaluations,
        unigram=unigram,
        positions=positions,
        phrases=masked_phrases(parts, recipe.trainer.seed),
        notes=[
            *mixture_lines(parts.training_data.corpus.sources, position.source_tokens),
            *left_out_lines(position.left_out),
            *guard_lines(position.guard),
            *best_lines(position.best),
            *notes,
        ],
        places={
            "model": export,
            **({"averaged": averaged} if parts.average is not None else {}),
            **({"best": directory / EXPORTS / str(position.best.step)} if position.best is not None else {}),
            "checkpoint": directory / CHECKPOINTS / str(position.step),
            "metrics": directory / METRICS,
            "recipe": directory / "recipe.toml",
        },
        next_commands=(
            *((evaluation_command(directory, position.evaluations),) if embeds else ()),
            *(() if opening is None else (opening,)),
            *(() if position.ended else (command(recipe, longer),)),
        ),
        embeds=embeds,
    )


def position_rows(position: Position) -> list[PositionRow]:
    """What became of each bucket of positions; empty where they were not measured."""
    after = position.position_losses.get("after")
    return [] if after is None else after.compared_with(position.position_losses.get("before"))


def _write(file: Path, position: Position, unigram: float | None, positions: Sequence[PositionRow]) -> None:
    guard = position.guard
    write_json(
        file,
        {
            "step": position.step,
            "evaluations": position.evaluations,
            "unigram_cross_entropy": unigram,
            **({"positions": [asdict(row) for row in positions]} if positions else {}),
            **({} if position.best is None else {"best": position.best.to_json()}),
            **({"mixture": position.source_tokens} if position.source_tokens else {}),
            **({"left_out": position.left_out} if position.left_out else {}),
            **({"skipped_steps": guard.skipped} if guard.skipped else {}),
            **({"rollbacks": guard.rollbacks} if guard.rollbacks else {}),
        },
    )
