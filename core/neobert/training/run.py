"""A run from its recipe to its summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from neobert.files import write_json, write_text
from neobert.recipe import Recipe
from neobert.run_folder import DATA, ENVIRONMENT, RECIPE
from neobert.training.assemble import Parts, assemble, build_trackers, close_trackers
from neobert.training.command import command_to_go_on
from neobert.training.compilation import clear_compile_failures
from neobert.training.data_description import describe_data
from neobert.training.data_end import DATA_ENDED, ended_early, will_end_early
from neobert.training.deterministic import deterministic
from neobert.training.devices import Placement, place, refuse_unfit_device
from neobert.training.display import Display, make_display, notes_of_parts
from neobert.training.environment import describe_environment
from neobert.training.finish import finish, is_finished
from neobert.training.loop import Position, train
from neobert.training.meter import Meter
from neobert.training.out_of_memory import MemoryAnswer, saved_when_short
from neobert.training.processes import joined_processes
from neobert.training.ranks import Ranks
from neobert.training.recorder import Recorder
from neobert.training.restore import restore
from neobert.training.resume import Resumption, find_checkpoint, is_own, prepare_resumption, recorded_recipe
from neobert.training.rollback import Rollback
from neobert.training.run_directory import held_run_directory, refuse_second_run, settle_killed
from neobert.training.same_weights import refuse_other_weights
from neobert.training.saving import Saver
from neobert.training.settling import settle_folder
from neobert.training.signals import StopSignal
from neobert.training.starting_weights import refuse_unfit_weights, start_from_weights
from neobert.warmup import describe_warmups
from neobert.watching.beat import State
from neobert.watching.watch import watching

ENDS: dict[int, State] = {0: "finished", DATA_ENDED: "ended"}
"""What a run's exit status is called in its heartbeat; any other is a signal's."""


def run(recipe: Recipe, console: Console | None = None) -> int:
    """Runs a recipe. Returns 0 at ``max_steps``; where it ended sooner, 3 at the data's end, 143 or 130 at a signal."""
    memory = MemoryAnswer(recipe)
    return memory.given(lambda: _run(recipe, console or Console(highlight=False), memory))


def _run(recipe: Recipe, console: Console, memory: MemoryAnswer) -> int:
    with ExitStack() as stack:
        ranks = stack.enter_context(joined_processes(recipe.trainer))
        refuse_unfit_device(recipe)
        display = make_display(console, silent=not ranks.first)
        placement = place(recipe.trainer)
        stack.enter_context(notes_of_parts(display))
        stack.enter_context(clear_compile_failures(recipe.trainer))
        stack.enter_context(deterministic(recipe.trainer, placement.device))
        directory = stack.enter_context(held_run_directory(ranks, Path(recipe.trainer.output_dir)))
        resumption = _resumption(recipe, directory, display, ranks)
        recipe = recorded_recipe(recipe, resumption, directory)
        parts = assemble(recipe, placement, directory, ranks)
        memory.vocab_size = parts.context.vocab_size
        stack.callback(parts.training_data.close)
        position = _position(recipe, parts, resumption, display)
        refuse_other_weights(ranks, parts.objective)
        _open(recipe, placement, directory, position, parts, display)
        trackers = build_trackers(recipe, parts.context)
        stack.callback(close_trackers, trackers)
        saver = Saver(recipe=recipe, parts=parts, directory=directory, display=display)
        rollback = Rollback(recipe=recipe, parts=parts, directory=directory, display=display, trackers=trackers)
        watch = stack.enter_context(watching(directory, placement.rank, recipe.trainer.hang_timeout))
        recorder = Recorder(
            trainer=recipe.trainer,
            trackers=trackers,
            display=display,
            save=saver.save,
            watch=watch,
            keep_step=saver.keep_step,
        )
        if resumption is not None and is_own(resumption.checkpoint, directory):
            saver.complete(position)
        began = "started" if resumption is None else "resumed"
        watch.happened(began, position.step, processes=ranks.world_size)
        status = _train(parts, position, saver, recorder, rollback)
        watch.end(ENDS.get(status, "stopped"))
        return status


def _resumption(recipe: Recipe, directory: Path, display: Display, ranks: Ranks) -> Resumption | None:
    """Everything that could refuse the run, before data or model are touched: the first rank finds it out."""
    found, notes = ranks.from_first(lambda: _found(recipe, directory))
    for note in notes:
        display.note(note)
    if found is None:
        return None
    checkpoint = Path(found)
    if not is_own(checkpoint, directory):
        return prepare_resumption(checkpoint, recipe, ranks.world_size)
    return prepare_resumption(checkpoint, recipe, ranks.world_size, lambda step: is_finished(directory, step))


def _found(recipe: Recipe, directory: Path) -> tuple[str | None, list[str]]:
    """The checkpoint to go on from, and what there is to say of it."""
    if recipe.trainer.resume_from_checkpoint is None:
        refuse_second_run(directory, recipe)
        refuse_unfit_weights(recipe)
        return None, []
    settled = settle_killed(directory)
    checkpoint, notes = find_checkpoint(recipe, directory)
    notes = [*settled, *notes]
    if checkpoint is None:
        refuse_unfit_weights(recipe)
        return None, notes
    if not is_own(checkpoint, directory):
        refuse_second_run(directory, recipe)
    return str(checkpoint), notes


def _position(recipe: Recipe, parts: Parts, resumption: Resumption | None, display: Display) -> Position:
    if resumption is not None:
        for note in resumption.notes:
            display.note(note)
        position = restore(recipe, parts, resumption, display)
        display.note(f"going on from {resumption.checkpoint} at step {position.step}")
        return position
    if (line := start_from_weights(recipe, parts)) is not None:
        display.note(line)
        if parts.average is not None:
            parts.average.begin()
    return Position(step=0, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))


def _open(
    recipe: Recipe, placement: Placement, directory: Path, position: Position, parts: Parts, display: Display
) -> None:
    """The first writing into the folder, once nothing can be refused any more."""
    for line in settle_folder(parts.ranks, recipe.trainer, directory, position):
        display.note(line)
    if parts.ranks.first:
        write_text(directory / RECIPE, recipe.to_toml())
        write_json(directory / ENVIRONMENT, describe_environment(recipe, placement))
        write_json(directory / DATA, describe_data(parts))


def objective_lines(recipe: Recipe, parts: Parts) -> Iterator[str]:
    """What each objective's data comes to."""
    views = recipe.views
    for name, own in parts.each.items():
        if name:
            yield f"objective {name}: about {recipe.objectives[name].probability:.0%} of the steps"
        yield from own.own_data.report.lines()
        for what, said in describe_warmups(recipe.trainer, views[name].dataset.max_seq_length):
            yield f"{what}: {said}"


def _train(parts: Parts, position: Position, saver: Saver, recorder: Recorder, rollback: Rollback) -> int:
    recipe, directory, display = saver.recipe, saver.directory, saver.display
    trainer = recipe.trainer
    for line in objective_lines(recipe, parts):
        display.note(line)
    for line in will_end_early(parts, position.cursor, position.step, trainer.max_steps):
        display.note(line)
    with StopSignal(alone=parts.ranks.alone) as stop:
        try:
            display.start(trainer.max_steps, position.step)
            recorder.start(parts, position)
            if position.step < trainer.max_steps:  # else it was killed after its last step, and only has to finish
                saved_when_short(
                    lambda: train(parts, position, trainer, recorder, stop, rollback),
                    recorder,
                    position,
                    recipe,
                    parts.free,
                )
        finally:
            display.stop()
        if position.step < trainer.max_steps and not position.ended:
            display.note(
                f"stopped by a signal at step {position.step} of {trainer.max_steps}; it is saved. To go on:\n"
                f"  {command_to_go_on(recipe)}"
            )
            return stop.exit_status
    notes = [f"waited for data {recorder.wait_share:.1%} of the time", *saver.notes]
    finish(recipe, parts, position, directory, display.console, notes)
    if position.step == trainer.max_steps:
        return 0
    display.note(ended_early(parts, position.cursor, position.step, trainer.max_steps))
    return DATA_ENDED
