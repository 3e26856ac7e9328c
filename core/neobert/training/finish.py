"""The end of a run that reached its last step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, evolve
from rich.console import Console

from neobert.abilities import makes_embeddings, predicts
from neobert.export import opening_command
from neobert.files import write_json
from neobert.objective_names import own
from neobert.recipe import Recipe
from neobert.run_folder import AVERAGED_EXPORTS, CHECKPOINTS, EXPORTS, METRICS, RECIPE, SUMMARY
from neobert.training.assemble import Parts
from neobert.training.best import best_lines
from neobert.training.command import RESUME_KEY, command
from neobert.training.figures import evaluation_command
from neobert.training.guess_figures import guess_figures
from neobert.training.loop import Position
from neobert.training.phrases import masked_phrases
from neobert.training.positions import PositionRow
from neobert.training.summary import (
    Learned,
    guard_lines,
    left_out_lines,
    mixture_lines,
    objective_lines,
    show_summary,
)
from neobert.training.unigram import asks_for_tokens, unigram_cross_entropy
from neobert.training.word_figures import add_figures, word_figures


def is_finished(directory: Path, step: int) -> bool:
    """Whether a run came to its summary at this step."""
    try:
        return bool(json.loads((directory / SUMMARY).read_text(encoding="utf-8"))["step"] == step)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def finish(
    recipe: Recipe, parts: Parts, position: Position, directory: Path, console: Console, notes: Sequence[str]
) -> None:
    """Compares with a unigram model, guesses a few held-out words, and prints where everything lies; on the first rank
    alone."""
    if not parts.ranks.first:
        return
    said = []
    for name, view in parts.each.items():
        figures, why = word_figures(view, recipe.trainer.eval_train_candidates)
        said += why
        add_figures(position.evaluations, {**figures, **guess_figures(view)}, name)
    learned = [_learned(recipe, view, position, name) for name, view in parts.each.items()]
    _write(directory / SUMMARY, position, learned)
    longer = {RESUME_KEY: None, "trainer.max_steps": 2 * position.step, "trainer.output_dir": f"{directory}-longer"}
    export, averaged = (directory / kind / str(position.step) for kind in (EXPORTS, AVERAGED_EXPORTS))
    opening = opening_command(export, f"returns the {parts.tokenizer.mask_token} of the list.")
    show_summary(
        console,
        learned=learned,
        notes=[
            *objective_lines(position.objective_steps, _probabilities(recipe)),
            *_mixture_lines(parts, position),
            *left_out_lines(position.left_out),
            *guard_lines(position.guard),
            *best_lines(position.best),
            *said,
            *notes,
        ],
        places={
            "model": export,
            **({"averaged": averaged} if parts.average is not None else {}),
            **({"best": directory / EXPORTS / str(position.best.step)} if position.best is not None else {}),
            "checkpoint": directory / CHECKPOINTS / str(position.step),
            "metrics": directory / METRICS,
            "recipe": directory / RECIPE,
        },
        next_commands=(
            *(evaluation_command(directory, one.evaluations, one.figures_of) for one in learned if one.figures_of),
            *(() if opening is None else (opening,)),
            *(() if position.ended else (command(recipe, longer),)),
        ),
    )


def _learned(recipe: Recipe, parts: Parts, position: Position, objective: str) -> Learned:
    """What became of one objective; ``parts`` are its own."""
    unigram, data = None, None if parts.evaluation_data is None else parts.evaluation_data.whole()
    if data is not None and asks_for_tokens(data):
        unigram = unigram_cross_entropy(parts.own_data.token_counts(parts.context.vocab_size), data)
    return Learned(
        objective=objective,
        evaluations=own_evaluations(position.evaluations, objective),
        unigram=unigram,
        positions=position_rows(position, objective),
        phrases=masked_phrases(evolve(parts, evaluation_data=data), recipe.trainer.seed),
        figures_of=_figures_of(parts.own_objective.loss),
    )


def _figures_of(loss: Any) -> str | None:
    if makes_embeddings(loss):
        return "embeddings"
    return "predictions" if predicts(loss) else None


def own_evaluations(evaluations: Mapping[str, Mapping[str, float]], objective: str) -> dict[str, dict[str, float]]:
    """Those of one objective under the plain names of its metrics; empty columns are left out."""
    found = {when: own(objective, means) for when, means in evaluations.items()}
    return {when: means for when, means in found.items() if means}


def position_rows(position: Position, objective: str = "") -> list[PositionRow]:
    """What became of each bucket of positions; empty where they were not measured."""
    losses = own(objective, position.position_losses)
    return [] if "after" not in losses else losses["after"].compared_with(losses.get("before"))


def _mixture_lines(parts: Parts, position: Position) -> Iterator[str]:
    for name, view in parts.each.items():
        for line in mixture_lines(view.own_data.corpus.sources, own(name, position.source_tokens)):
            yield f"objective {name}, {line}" if name else line


def _probabilities(recipe: Recipe) -> dict[str, float]:
    return {name: table.probability for name, table in recipe.objectives.items()}


def _write(file: Path, position: Position, learned: Sequence[Learned]) -> None:
    guard = position.guard
    unigram = {one.objective: one.unigram for one in learned}
    positions = {one.objective: [asdict(row) for row in one.positions] for one in learned if one.positions}
    write_json(
        file,
        {
            "step": position.step,
            "evaluations": position.evaluations,
            "unigram_cross_entropy": unigram.get("", unigram),
            **({"objectives": position.objective_steps} if position.objective_steps else {}),
            **({"positions": positions.get("", positions)} if positions else {}),
            **({} if position.best is None else {"best": position.best.to_json()}),
            **({"mixture": position.source_tokens} if position.source_tokens else {}),
            **({"left_out": position.left_out} if position.left_out else {}),
            **({"skipped_steps": guard.skipped} if guard.skipped else {}),
            **({"rollbacks": guard.rollbacks} if guard.rollbacks else {}),
        },
    )
