"""The end of a run that reached its last step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from neobert.files import write_json
from neobert.recipe import Recipe
from neobert.training.assemble import Parts
from neobert.training.command import RESUME_KEY, command
from neobert.training.loop import Position
from neobert.training.phrases import masked_phrases
from neobert.training.run_directory import CHECKPOINTS, EXPORTS, METRICS
from neobert.training.summary import left_out_lines, mixture_lines, show_summary
from neobert.training.unigram import asks_for_tokens, unigram_cross_entropy

SUMMARY_FILE = "summary.json"


def finish(
    recipe: Recipe, parts: Parts, position: Position, directory: Path, console: Console, notes: Sequence[str]
) -> None:
    """Compares with a unigram model, guesses a few held-out words, and prints where everything lies."""
    unigram = None
    if parts.evaluation_data is not None and asks_for_tokens(parts.evaluation_data):
        counts = parts.training_data.token_counts(parts.context.vocab_size)
        unigram = unigram_cross_entropy(counts, parts.evaluation_data)
    _write(directory / SUMMARY_FILE, position, unigram)
    longer = {RESUME_KEY: None, "trainer.max_steps": 2 * position.step, "trainer.output_dir": f"{directory}-longer"}
    export = directory / EXPORTS / str(position.step)
    show_summary(
        console,
        evaluations=position.evaluations,
        unigram=unigram,
        phrases=masked_phrases(parts, recipe.trainer.seed),
        notes=[
            *mixture_lines(parts.training_data.corpus.sources, position.source_tokens),
            *left_out_lines(position.left_out),
            *notes,
        ],
        places={
            "model": export,
            "checkpoint": directory / CHECKPOINTS / str(position.step),
            "metrics": directory / METRICS,
            "recipe": directory / "recipe.toml",
        },
        next_commands=(
            f'python -c "from transformers import pipeline; '
            f"print(pipeline('fill-mask', '{export}')('returns the {parts.tokenizer.mask_token} of the list.'))\"",
            *(() if position.ended else (command(recipe, longer),)),
        ),
    )


def _write(file: Path, position: Position, unigram: float | None) -> None:
    write_json(
        file,
        {
            "step": position.step,
            "evaluations": position.evaluations,
            "unigram_cross_entropy": unigram,
            **({"mixture": position.source_tokens} if position.source_tokens else {}),
            **({"left_out": position.left_out} if position.left_out else {}),
        },
    )
