"""A run from its recipe to its summary."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from neobert.files import write_json, write_text
from neobert.recipe import Recipe
from neobert.training.assemble import Parts, assemble, build_trackers, close_trackers
from neobert.training.best import settle_best
from neobert.training.command import command_to_go_on
from neobert.training.compilation import clear_compile_failures
from neobert.training.data_end import DATA_ENDED, ended_early, will_end_early
from neobert.training.deterministic import deterministic
from neobert.training.devices import Placement, place, refuse_unfit_device
from neobert.training.display import Display, make_display, notes_of_parts
from neobert.training.environment import describe_environment
from neobert.training.finish import finish, is_finished
from neobert.training.loop import Position, train
from neobert.training.meter import Meter
from neobert.training.out_of_memory import MemoryAnswer, saved_when_short
from neobert.training.recorder import Recorder
from neobert.training.restore import restore
from neobert.training.resume import Resumption, find_checkpoint, is_own, prepare_resumption, recorded_recipe
from neobert.training.rollback import Rollback
from neobert.training.run_directory import STEP_FOLDERS, lock_run_directory, refuse_second_run, settle_killed, supersede
from neobert.training.saving import Saver
from neobert.training.signals import StopSignal
from neobert.training.starting_weights import refuse_unfit_weights, start_from_weights
from neobert.warmup import describe_warmups
from neobert.watching.beat import State
from neobert.watching.watch import watching

ENDS: dict[int, State] = {0: "finished", DATA_ENDED: "ended"}
"""What a run's exit status is called in its heartbeat; any other is a signal's."""


def run(recipe: Recipe, console: Console | None = None) -> int:
    """Runs a recipe. Returns 0 at ``max_steps``; where it ended sooner, 3 at the data's end, 143 or 130 at a signal."""
    refuse_unfit_device(recipe)
    display = make_display(console or Console(highlight=False))
    placement = place(recipe.trainer)
    memory = MemoryAnswer(recipe)
    return memory.given(lambda: _run(recipe, placement, display, memory))


def _run(recipe: Recipe, placement: Placement, display: Display, memory: MemoryAnswer) -> int:
    with ExitStack() as stack:
        stack.enter_context(notes_of_parts(display))
        stack.enter_context(clear_compile_failures(recipe.trainer))
        stack.enter_context(deterministic(recipe.trainer, placement.device))
        directory = stack.enter_context(lock_run_directory(Path(recipe.trainer.output_dir)))
        resumption = _resumption(recipe, directory, display)
        recipe = recorded_recipe(recipe, resumption, directory)
        parts = assemble(recipe, placement, directory)
        memory.vocab_size = parts.context.vocab_size
        stack.callback(parts.training_data.close)
        position = _position(recipe, parts, resumption, display)
        _open(recipe, placement, directory, resumption, display)
        if (line := settle_best(recipe.trainer, directory, position, STEP_FOLDERS)) is not None:
            display.note(line)
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
        status = _train(parts, position, saver, recorder, rollback)
        watch.end(ENDS.get(status, "stopped"))
        return status


def _resumption(recipe: Recipe, directory: Path, display: Display) -> Resumption | None:
    """Everything that could refuse the run, before data or model are touched."""
    if recipe.trainer.resume_from_checkpoint is None:
        refuse_second_run(directory, recipe)
        refuse_unfit_weights(recipe)
        return None
    settled = settle_killed(directory)
    checkpoint, notes = find_checkpoint(recipe, directory)
    for note in (*settled, *notes):
        display.note(note)
    if checkpoint is None:
        refuse_unfit_weights(recipe)
        return None
    if not is_own(checkpoint, directory):
        refuse_second_run(directory, recipe)
        return prepare_resumption(checkpoint, recipe)
    return prepare_resumption(checkpoint, recipe, lambda step: is_finished(directory, step))


def _position(recipe: Recipe, parts: Parts, resumption: Resumption | None, display: Display) -> Position:
    if resumption is not None:
        for note in resumption.notes:
            display.note(note)
        position = restore(recipe, parts, resumption, display)
        display.note(f"going on from {resumption.checkpoint} at step {position.step}")
        return position
    if (line := start_from_weights(recipe, parts, parts.objective)) is not None:
        display.note(line)
        if parts.average is not None:
            parts.average.begin()
    return Position(step=0, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))


def _open(
    recipe: Recipe, placement: Placement, directory: Path, resumption: Resumption | None, display: Display
) -> None:
    """The first writing into the folder, once nothing can be refused any more."""
    moved = supersede(directory, resumption.progress.step if resumption else -1)
    if moved:
        display.note(moved)
    write_text(directory / "recipe.toml", recipe.to_toml())
    write_json(directory / "environment.json", describe_environment(recipe, placement))


def _train(parts: Parts, position: Position, saver: Saver, recorder: Recorder, rollback: Rollback) -> int:
    recipe, directory, display = saver.recipe, saver.directory, saver.display
    trainer = recipe.trainer
    for line in parts.training_data.report.lines():
        display.note(line)
    for what, said in describe_warmups(trainer, recipe.dataset.max_seq_length):
        display.note(f"{what}: {said}")
    for line in will_end_early(parts.training_data, position.cursor, position.step, trainer.max_steps):
        display.note(line)
    with StopSignal() as stop:
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
    display.note(ended_early(parts.training_data, position.cursor, position.step, trainer.max_steps))
    return DATA_ENDED
