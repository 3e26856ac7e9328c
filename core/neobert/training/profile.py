"""A few steps of a run under torch's profiler: the real loop, with nothing saved of what it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import torch
from attrs import define, evolve, field, frozen
from rich.console import Console
from torch import Tensor
from torch.profiler import ProfilerActivity

from neobert.data import StepBatches
from neobert.errors import UserError
from neobert.recipe import Recipe
from neobert.training.assemble import Parts, assemble
from neobert.training.compilation import clear_compile_failures
from neobert.training.deterministic import deterministic
from neobert.training.devices import place, refuse_unfit_device
from neobert.training.display import Display, notes_of_parts
from neobert.training.loop import Position, train
from neobert.training.memory import peak_of_process
from neobert.training.meter import Meter
from neobert.training.phases import COPY, LOGGING, WAIT, Phases
from neobert.training.recorder import Recorder
from neobert.training.signals import StopSignal
from neobert.training.starting_weights import refuse_unfit_weights
from neobert.warmup import describe_warmups

WARM_UP = 5
"""Steps before the profiled ones: compilation, the allocator's and the caches' first time."""
TOP = 12
TRACE = "trace.json"


@frozen
class Operator:
    """One of torch's operators, over all profiled steps."""

    name: str
    calls: int
    milliseconds: float
    """On its own, without what it calls: on the GPU where there is one."""


@frozen(kw_only=True)
class Profile:
    """Where the time of the profiled steps went."""

    steps: int
    tokens: int
    """With content, over all of them."""
    seconds: float
    phases: dict[str, float]
    """Name -> seconds over all of them."""
    operators: tuple[Operator, ...]
    """The costliest, by their own time."""
    peak_bytes: int
    """Of this process, or of the GPU's tensors."""
    trace: Path


def profile(recipe: Recipe, steps: int, console: Console) -> Profile:
    """Trains ``WARM_UP`` steps, then ``steps`` under the profiler; writes only a trace, into a folder of its own."""
    refuse_unfit_device(recipe)
    refuse_unfit_weights(recipe)
    folder = Path(f"{recipe.trainer.output_dir}-profile")
    folder.mkdir(parents=True, exist_ok=True)
    display = Display(console)
    with ExitStack() as stack:
        stack.enter_context(notes_of_parts(display))
        stack.enter_context(clear_compile_failures(recipe.trainer))
        placement = place(recipe.trainer)
        stack.enter_context(deterministic(recipe.trainer, placement.device))
        parts = assemble(recipe, placement, folder)
        stack.callback(parts.training_data.close)
        longest = max(view.dataset.max_seq_length for view in recipe.views.values())
        for what, said in describe_warmups(recipe.trainer, longest):
            display.note(f"these are the run's first steps, inside its {what}: {said}")
        display.note(f"{WARM_UP} steps to warm up, then {steps} under the profiler ...")
        return _profiled(recipe, _without_evaluation(parts), steps, folder / TRACE)


def _without_evaluation(parts: Parts) -> Parts:
    own = {name: evolve(view, evaluation_data=None) for name, view in parts.objectives.items()}
    return evolve(parts, evaluation_data=None, objectives=own)


def _profiled(recipe: Recipe, parts: Parts, steps: int, trace: Path) -> Profile:
    # The schedule and the data are those of the whole run; only the loop ends sooner.
    trainer = evolve(recipe.trainer, max_steps=WARM_UP + steps, save_steps=None)
    phases = Phases(parts.device)

    def begin() -> None:
        phases.attach(parts)
        profiler.start()

    profiler = torch.profiler.profile(activities=_activities(parts.device))
    silent = Display(Console(quiet=True))  # these steps are no run to follow
    silent.start(trainer.max_steps, 0)
    recorder = _Recorder(trainer=trainer, trackers=(), display=silent, save=lambda _: None, phases=phases, begin=begin)
    position = Position(step=0, cursor=parts.training_data.start(), tokens_seen=0, meter=Meter(parts.device))
    with StopSignal() as stop:
        recorder.start(parts, position)
        train(parts, position, trainer, recorder, stop)
    if position.step <= WARM_UP:
        msg = f"it ended after {position.step} steps, and the first {WARM_UP} only warm up: there is nothing to show"
        raise UserError(msg)
    phases.end()
    seconds = perf_counter() - recorder.began
    profiler.stop()
    profiler.export_chrome_trace(str(trace))
    return Profile(
        steps=position.step - WARM_UP,
        tokens=position.tokens_seen - recorder.tokens_before,
        seconds=seconds,
        phases=dict(phases.seconds),
        operators=tuple(_costliest(profiler, parts.device)),
        peak_bytes=_peak_bytes(parts.device),
        trace=trace,
    )


@define(kw_only=True)
class _Recorder(Recorder):
    """The run's own recorder, which also says when a step waits and when it logs. It begins once warmed up."""

    phases: Phases
    begin: Callable[[], None]
    began: float = field(default=0.0, init=False)
    tokens_before: int = field(default=0, init=False)

    def next_step(self, steps: Iterator[StepBatches], position: Position) -> StepBatches:
        if position.step == WARM_UP:
            self.begin()
            self.began, self.tokens_before = perf_counter(), position.tokens_seen
        # Not the run's way where data fails: it would say that a step is saved, and nothing is here.
        if position.step < WARM_UP:
            return next(steps)
        self.phases.enter(WAIT)
        data = next(steps)
        self.phases.enter(COPY)
        return data

    def after_step(self, parts: Parts, data: StepBatches, norm: Tensor | None, position: Position, done: bool) -> None:
        if position.step > WARM_UP:
            self.phases.enter(LOGGING)
        super().after_step(parts, data, norm, position, done)


def _activities(device: torch.device) -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]


def _costliest(profiler: torch.profiler.profile, device: torch.device) -> Iterator[Operator]:
    attribute = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    events = [event for event in profiler.key_averages() if not event.is_user_annotation]
    for event in sorted(events, key=lambda event: getattr(event, attribute), reverse=True)[:TOP]:
        yield Operator(str(event.key), int(event.count), getattr(event, attribute) / 1e3)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return peak_of_process()
