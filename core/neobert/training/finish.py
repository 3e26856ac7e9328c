"""The end of a run that reached its last step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from neobert.files import write_json
from neobert.recipe import Recipe
from neobert.training.assemble import Parts
from neobert.training.best import best_lines
from neobert.training.command import RESUME_KEY, command
from neobert.training.embedding_meter import makes_embeddings
from neobert.training.figures import ways_to_try
from neobert.training.loop import Position
from neobert.training.phrases import masked_phrases
from neobert.training.run_directory import AVERAGED_EXPORTS, CHECKPOINTS, EXPORTS, METRICS
from neobert.training.summary import guard_lines, left_out_lines, mixture_lines, show_summary
from neobert.training.unigram import unigram_cross_entropy

SUMMARY_FILE = "summary.json"


def finish(
    recipe: Recipe, parts: Parts, position: Position, directory: Path, console: Console, notes: Sequence[str]
) -> None:
    """Compares with a unigram model, guesses a few held-out words, and prints where everything lies."""
    unigram, embeds = None, makes_embeddings(parts.objective.loss)
    if parts.evaluation_data is not None and not embeds:
        counts = parts.training_data.token_counts(parts.context.vocab_size)
        unigram = unigram_cross_entropy(counts, parts.evaluation_data)
    _write(directory / SUMMARY_FILE, position, unigram)
    longer = {RESUME_KEY: None, "trainer.max_steps": 2 * position.step, "trainer.output_dir": f"{directory}-longer"}
    export, averaged = (directory / kind / str(position.step) for kind in (EXPORTS, AVERAGED_EXPORTS))
    show_summary(
        console,
        evaluations=position.evaluations,
        unigram=unigram,
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
            *(ways_to_try(export, directory) if embeds else [_fill_mask(export, parts.tokenizer.mask_token)]),
            *(() if position.ended else (command(recipe, longer),)),
        ),
        embeds=embeds,
    )


def _fill_mask(export: Path, mask: str) -> str:
    return (
        f'python -c "from transformers import pipeline; '
        f"print(pipeline('fill-mask', '{export}')('returns the {mask} of the list.'))\""
    )


def _write(file: Path, position: Position, unigram: float | None) -> None:
    guard = position.guard
    write_json(
        file,
        {
            "step": position.step,
            "evaluations": position.evaluations,
            "unigram_cross_entropy": unigram,
            **({} if position.best is None else {"best": position.best.to_json()}),
            **({"mixture": position.source_tokens} if position.source_tokens else {}),
            **({"left_out": position.left_out} if position.left_out else {}),
            **({"skipped_steps": guard.skipped} if guard.skipped else {}),
            **({"rollbacks": guard.rollbacks} if guard.rollbacks else {}),
        },
    )
