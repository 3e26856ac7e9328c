"""Runs that are killed with SIGKILL, again and again, beside one that is not: the same bytes at the end?

    python -m tests.benchmarks.kills [--kills 300] [--seed 0]

A tiny run that saves, prunes, exports and evaluates every few steps is killed at a random moment, or right before a
random file operation (an opening for writing, a sync, a renaming, a removal), is resumed with `latest`, killed again up
to four times, and resumed to its end. One run in four begins with an empty cache. Then its last checkpoint, its last
export and its metric lines have to be those of the unbroken run, and nothing half written may be left in its folder.
Each process is forked from one that has imported everything, so that hundreds of kills take minutes. Prints the kills
by the place that they hit; exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import chdir
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen
from rich.console import Console
from tests.conftest import write_workdir

from neobert import libraries
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.run import run

STEPS = 8
OVERRIDES = (
    "--optimizer=adamw",
    "--model.num_hidden_layers=1",
    f"--trainer.max_steps={STEPS}",
    "--trainer.save_steps=2",
    "--trainer.eval_steps=4",
    "--trainer.logging_steps=1",
    "--trainer.save_total_limit=2",
    "--trainer.ema={decay = 0.9}",
    "--trainer.resume_from_checkpoint=latest",
)
COMPARED = (
    "summary.json",
    f"checkpoints/{STEPS}/state.safetensors",
    f"checkpoints/{STEPS}/progress.json",
    f"model_checkpoints/{STEPS}/model.safetensors",
    f"ema_model_checkpoints/{STEPS}/model.safetensors",
)
BACKGROUND = "--trainer.async_save=true"
TIMED = ("train/tokens_per_second", "train/data_wait_share")
MOST_KILLS = 4
"""Of one run."""
OPERATIONS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate")
"""Audited by Python; syncs are not, and are counted apart."""
PLACES = {
    "prune": "pruning",
    "settle_killed": "clearing up",
    "supersede": "superseding",
    "export_model": "exporting",
    "save_checkpoint": "saving a checkpoint",
    "write_best": "saving a checkpoint",
    "finish": "finishing",
    "settle": "waiting for a save in the background",
    "_evaluate": "evaluating",
    "_log": "logging",
    "beat": "heartbeat",
    "update": "training a step",
    "next_step": "waiting for data",
    "restore": "restoring",
    "build_objective": "building",
    "build_data_parts": "caching and tokenizing",
    "_open": "opening the folder",
}
"""Function -> what it is called; the innermost one counts."""
_FINISHED, _ENDED_BEFORE, _FAILED = 0, 2, 70


@frozen
class Plan:
    """When a process kills itself: before its n-th file operation, or after so many seconds. Neither: never."""

    operation: int | None = None
    seconds: float | None = None


@frozen
class Outcome:
    """What became of a process."""

    killed: str | None
    """Where it was, if it was killed."""
    status: int
    told: dict[str, Any]
    """What it said of itself at its end."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        write_workdir(Path(folder))
        return 1 if kill_runs(arguments.kills, random.Random(arguments.seed)) else 0


def kill_runs(kills: int, rng: random.Random) -> int:
    """Kills runs in the working directory until there are so many kills; returns how many of the runs differ."""
    libraries.import_libraries()
    unbroken = process(Plan(), "unbroken", "cache")
    if unbroken.status != _FINISHED:
        raise RuntimeError(unbroken.told.get("error", "the unbroken run failed"))
    by_place: Counter[str] = Counter()
    differ = runs = 0
    while by_place.total() < kills:
        runs += 1
        cache = f"cache-{runs}" if runs % 4 == 1 else "cache"
        more = (BACKGROUND,) if runs % 2 == 0 else ()
        found, places = one_run(f"run-{runs}", cache, unbroken.told, rng, more)
        by_place.update(places)
        differ += bool(found)
        for line in found:
            print(f"run {runs} (killed while {', '.join(places)}): {line}", flush=True)
    for place, count in by_place.most_common():
        print(f"{place:<24} {count:>5}")
    print(f"{by_place.total()} kills of {runs} runs; {differ or 'no'} runs differ from the unbroken one")
    return differ


def one_run(
    name: str, cache: str, unbroken: dict[str, Any], rng: random.Random, more: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """A run that is killed a few times and resumed to its end: what differs at its end, and where it was killed."""
    places: list[str] = []
    for _ in range(rng.randint(1, MOST_KILLS)):
        outcome = process(a_plan(unbroken, rng), name, cache, more)
        if outcome.killed is None:
            break
        places.append(outcome.killed)
    else:
        outcome = process(Plan(), name, cache, more)
    if outcome.status == _FAILED or outcome.killed is not None:
        return [str(outcome.told.get("error", "killed without a plan"))], places
    # One that was killed after its summary has nothing left to do, and says so.
    return differences(Path("unbroken"), Path(name)), places


def a_plan(unbroken: dict[str, Any], rng: random.Random) -> Plan:
    if rng.random() < 0.6:
        return Plan(operation=rng.randint(1, unbroken["operations"]))
    return Plan(seconds=rng.uniform(0.0, unbroken["seconds"]))


def process(plan: Plan, name: str, cache: str, more: Sequence[str] = ()) -> Outcome:
    """Runs the recipe, with ``more`` overrides, in a process of its own, forked from this one, and waits for it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_and_exit(plan, name, cache, writing, more)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as pipe:
        told = json.loads(pipe.read() or "{}")
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return Outcome(told.get("place", "somewhere"), status, told)
    return Outcome(None, os.waitstatus_to_exitcode(status), told)


def _run_and_exit(plan: Plan, name: str, cache: str, pipe: int, more: Sequence[str]) -> None:
    """In the forked process: never returns."""
    status, told = _FAILED, {}
    try:
        os.environ["NEOBERT_CACHE"] = str(Path(cache).absolute())
        operations, began = arm(plan, pipe), time.perf_counter()
        recipe = load_recipe(Path("recipe.toml"), (*OVERRIDES, *more, f"--trainer.output_dir={name}"))
        status = run(recipe, Console(file=io.StringIO()))
        told = {"operations": operations(), "seconds": time.perf_counter() - began}
    except UserError as error:
        status = _ENDED_BEFORE if "nothing is left to do" in str(error) else _FAILED
        told = {"error": str(error)}
    except BaseException:
        told = {"error": traceback.format_exc()}
    finally:
        os.write(pipe, json.dumps(told).encode())
        os._exit(status)


def arm(plan: Plan, pipe: int) -> Callable[[], int]:
    """Has this process kill itself as planned; returns what tells how many file operations there were."""
    count = [0]

    def one_more() -> None:
        count[0] += 1
        if count[0] == plan.operation:
            die(pipe, sys._getframe(2))

    def audit(event: str, values: tuple[Any, ...]) -> None:
        if event in OPERATIONS and (event != "open" or is_writing(values)):
            one_more()

    sync = os.fsync

    def counted_sync(handle: Any) -> None:
        one_more()
        sync(handle)

    sys.addaudithook(audit)
    os.fsync = counted_sync
    if plan.seconds is not None:
        threading.Thread(target=_die_later, args=(pipe, plan.seconds), daemon=True).start()
    return lambda: count[0]


def is_writing(values: tuple[Any, ...]) -> bool:
    """Whether an opening could change a file that is not the system's."""
    path, mode, flags = (*values, None, None)[:3]
    if not isinstance(path, str | bytes) or os.fsdecode(path).startswith(("/dev/", "/proc/", "/sys/")):
        return False
    if isinstance(mode, str):
        return any(mark in mode for mark in "wax+")
    return bool(int(flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def _die_later(pipe: int, seconds: float) -> None:
    time.sleep(seconds)
    die(pipe, sys._current_frames()[threading.main_thread().ident or 0])


def die(pipe: int, frame: FrameType | None) -> None:
    os.write(pipe, json.dumps({"place": place_of(frame)}).encode())
    os.kill(os.getpid(), signal.SIGKILL)


def place_of(frame: FrameType | None) -> str:
    """What the run was doing."""
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith("neobert") and frame.f_code.co_name in PLACES:
            return PLACES[frame.f_code.co_name]
        frame = frame.f_back
    return "starting or between"


def differences(unbroken: Path, other: Path) -> list[str]:
    """Every way in which a run's end is not the unbroken one's."""
    found = [
        f"{name} differs"
        for name in COMPARED
        if not (other / name).is_file() or (unbroken / name).read_bytes() != (other / name).read_bytes()
    ]
    if metric_lines(unbroken) != metric_lines(other):
        found.append("metrics.jsonl differs")
    left = [path for path in other.rglob(".*") if path.name != ".lock" and "superseded" not in path.parts]
    # After a kill behind the summary nothing opens the folder again, so nothing clears up there.
    finished = json.loads((other / "heartbeat.json").read_text(encoding="utf-8"))["state"] == "finished"
    return found + [f"{path} was left behind" for path in left if finished]


def metric_lines(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


if __name__ == "__main__":
    sys.exit(main())
