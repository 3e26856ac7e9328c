"""What a run does about a step that goes wrong, and that stopping and going on in between changes no bit of it."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import frozen
from rich.console import Console
from safetensors.torch import load_file
from tests.conftest import write_workdir
from tests.core.training.conftest import Killed, Poison

from neobert.errors import UserError
from neobert.files import write_manifest
from neobert.recipe import load_recipe
from neobert.training.rollback import Rollback
from neobert.training.run import run

Run = Callable[..., tuple[int, str]]
STEPS = 22
CHANGES = {
    "max_steps = 6": f"max_steps = {STEPS}\nsave_steps = 4\neval_steps = 8",
    "logging_steps = 2": "logging_steps = 1",
    "num_hidden_layers = 2": "num_hidden_layers = 1",
    'name = "muon"': 'name = "adamw"\nlr = 0.01',
}
JUDGED = ("--trainer.guard.window=10", "--trainer.guard.threshold=8")
SKIP, ROLLBACK = ("--trainer.guard.action=skip", *JUDGED), ("--trainer.guard.action=rollback", *JUDGED)
LATEST = "--trainer.resume_from_checkpoint=latest"
TIMED = ("train/tokens_per_second", "train/data_wait_share")
NAN, INF = math.nan, math.inf


def lengthen(workdir: Path) -> None:
    """The recipe with more steps, and smaller."""
    recipe = (workdir / "recipe.toml").read_text(encoding="utf-8")
    for before, after in CHANGES.items():
        assert before in recipe
        recipe = recipe.replace(before, after)
    (workdir / "recipe.toml").write_text(recipe, encoding="utf-8")


@pytest.fixture(autouse=True)
def _longer(workdir: Path) -> None:
    lengthen(workdir)


@frozen
class Sound:
    """An unbroken run of sound data, which saves every fifth step."""

    folder: Path
    places: list[Any]


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Sound:
    workdir, seen = tmp_path_factory.mktemp("sound"), Poison()
    write_workdir(workdir)
    lengthen(workdir)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workdir)
        patch.setenv("NEOBERT_CACHE", str(cache))
        seen.install(patch)
        recipe = load_recipe(Path("recipe.toml"), [folder("sound"), "--trainer.save_steps=5"])
        assert run(recipe, Console(file=io.StringIO())) == 0
    return Sound(workdir / "sound", seen.places)


@pytest.fixture
def sound(poison: Poison, sound_run: Sound, workdir: Path) -> None:
    """Its places are known, and its folder is ``sound``."""
    poison.places = list(sound_run.places)
    (workdir / "sound").symlink_to(sound_run.folder)


def folder(name: str) -> str:
    return f"--trainer.output_dir={name}"


def lines_of(run: str) -> list[dict[str, Any]]:
    """Every metric line, without what depends on the clock."""
    lines = map(json.loads, Path(run, "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [{key: value for key, value in line.items() if key not in TIMED} for line in lines]


def events() -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path("run/events.jsonl").read_text(encoding="utf-8").splitlines()]


def progress_of(run: str, step: int = STEPS) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "checkpoints", str(step), "progress.json").read_text())
    return found


def state_of(run: str, step: int = STEPS) -> bytes:
    return Path(run, "checkpoints", str(step), "state.safetensors").read_bytes()


def assert_same(run: str, whole: str, after: int = -1) -> None:
    """The same end, bit for bit, and the same lines of every step after ``after``."""
    assert state_of(run) == state_of(whole)
    assert progress_of(run) == progress_of(whole)
    assert lines_of(run) == [line for line in lines_of(whole) if line["step"] > after]
    steps = [line["step"] for line in lines_of(run) if "train/learning_rate" in line]
    assert steps == sorted(set(steps))


def learn_places(go: Run, poison: Poison, *more: str) -> None:
    """The same of another kind of data."""
    assert go(folder("sound"), "--trainer.save_steps=5", *more)[0] == 0
    assert len(poison.places) == STEPS + 1


def spoil(poison: Poison, *steps: int, what: str = "loss", factor: float = 30.0) -> None:
    poison.bad = {poison.places[step]: (what, factor) for step in steps}


def test_a_guard_that_finds_nothing_changes_no_bit(go: Run, poison: Poison) -> None:
    assert go(folder("without"))[0] == 0
    for name, action in {"skip": SKIP, "rollback": ROLLBACK}.items():
        assert go(folder(name), *action)[0] == 0
        assert state_of(name) == state_of("without")
        assert lines_of(name) == lines_of("without")
    assert progress_of("without")["guard"]["recent"][""]["losses"] == []
    assert len(progress_of("skip")["guard"]["recent"][""]["losses"]) == 10


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(
    ("what", "factor", "said"),
    [
        ("loss", 30.0, "the loss spikes: "),
        ("gradient", 200.0, "the gradient norm spikes: "),
        ("gradient", INF, "the gradient is not finite (norm nan, loss 3"),
        ("gradient", 1e38, "the gradient is not finite (norm inf, loss 3"),
        ("loss", NAN, "the gradient is not finite (norm nan, loss nan)"),
    ],
)
def test_a_bad_step_is_skipped_and_leaves_nothing(go: Run, poison: Poison, what: str, factor: float, said: str) -> None:
    spoil(poison, 14, what=what, factor=factor)
    status, printed = go(folder("run"), *SKIP, "--trainer.save_steps=1", "--trainer.max_steps=15")
    assert status == 0
    assert f"step 14  skipped: {said}" in printed
    assert "1 step skipped: 14" in printed
    before, after = (load_file(f"run/checkpoints/{step}/state.safetensors") for step in (13, 14))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert progress_of("run", 15)["guard"]["skipped"] == [14]
    assert json.loads(Path("run/summary.json").read_text())["skipped_steps"] == [14]
    assert [(it["event"], it["step"]) for it in events()] == [("started", 0), ("skipped", 14), ("finished", 15)]
    assert said in events()[1]["reason"]
    # The step counts as taken: the schedule, the data and the counts went on.
    lines = {line["step"]: line for line in lines_of("run") if "train/tokens_seen" in line}
    sound = {line["step"]: line for line in lines_of("sound") if "train/tokens_seen" in line}
    assert list(lines) == list(range(1, 16))
    assert lines[14]["train/skipped_steps"] == 1.0
    assert "train/loss" not in lines[14]
    for key in ("train/tokens_seen", "train/learning_rate", "train/epoch"):
        assert [line[key] for line in lines.values()] == [sound[step][key] for step in lines]


@pytest.mark.usefixtures("sound")
def test_a_stop_saves_what_was_good_and_goes_on_as_told(go: Run, poison: Poison) -> None:
    spoil(poison, 14)
    stop = (folder("run"), "--trainer.save_steps=none", *JUDGED)
    with pytest.raises(UserError, match=r"step 14: the loss spikes: .*; the weights are as step 13 left them") as said:
        go(*stop)
    assert "--trainer.resume_from_checkpoint latest --trainer.guard.action skip" in str(said.value)
    with pytest.raises(UserError, match="step 14"):
        go(*stop, LATEST)
    assert go(*stop, LATEST, "--trainer.guard.action=skip")[0] == 0
    assert go(folder("whole"), "--trainer.save_steps=none", *SKIP)[0] == 0
    assert_same("run", "whole")


@pytest.mark.usefixtures("sound")
def test_skipping_ends_where_too_many_are_bad_in_a_row(go: Run, poison: Poison) -> None:
    spoil(poison, 12, 14, 15, 16, 17)
    with pytest.raises(UserError) as said:
        go(folder("run"), *SKIP, "--trainer.guard.limit=3")
    assert str(said.value).startswith("step 17: the loss spikes")
    assert "the 3 steps before it were skipped for faults of their own" in str(said.value)
    assert "they are as step 13 left them, saved as step 16" in str(said.value)
    assert "--trainer.resume_from_checkpoint latest --trainer.guard.limit 6" in str(said.value)
    assert go(folder("run"), *SKIP, LATEST, "--trainer.guard.limit=4")[0] == 0
    assert go(folder("whole"), *SKIP, "--trainer.guard.limit=4")[0] == 0
    assert_same("run", "whole")


@pytest.mark.usefixtures("sound")
def test_a_rollback_goes_on_from_the_checkpoint_with_the_data_after(go: Run, poison: Poison) -> None:
    spoil(poison, 15)
    status, printed = go(folder("run"), *ROLLBACK)
    assert status == 0
    assert "step 15  the loss spikes: " in printed
    assert "going back to step 12, and on with the data after this; that of 3 steps is skipped" in printed
    assert "went back from step 15 to 12: the loss spikes" in printed
    (record,) = progress_of("run")["guard"]["rollbacks"]
    assert (record["step"], record["to"]) == (15, 12)
    assert [(it["event"], it.get("to")) for it in events()] == [
        ("started", None),
        ("went back", 12),
        ("finished", None),
    ]
    # One history: each step once, and what was given up lies apart.
    steps = [line["step"] for line in lines_of("run") if "train/loss" in line]
    assert steps == list(range(1, STEPS + 1))
    given_up = Path("run/superseded/001/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in given_up] == [13, 14]
    rolled = [line.get("train/rollbacks") for line in lines_of("run") if "train/loss" in line]
    assert rolled == [None] * 12 + [1.0] * (STEPS - 12)


STREAM = ("--dataset.streaming=true", "--datacollator.packing_window=40")
MIXTURE = """
[dataset]
name = "mix"
max_seq_length = 32
when_exhausted = "{ending}"
sources.one = {{ name = "files", path = "corpus.txt" }}
sources.two = {{ name = "files", path = "second.txt" }}
select.one.eval_samples = 8
weights = {{ one = 2.0, two = 1.0 }}
"""


def mix(ending: str) -> None:
    Path("second.txt").write_text("\n".join(Path("corpus.txt").read_text().splitlines()[::-1]) + "\n")
    lines = Path("recipe.toml").read_text()
    begin, end = lines.index("[dataset]"), lines.index("[datacollator]")
    Path("recipe.toml").write_text(lines[:begin] + MIXTURE.format(ending=ending) + "\n" + lines[end:])


def use(kind: str) -> tuple[str, ...]:
    """Has the recipe read its text so; returns overrides."""
    if kind == "mixture":
        mix("repeat")
    return STREAM if kind == "stream" else ()


def moved_on(checkpoint: Path, cursor_of: Path, to: Path) -> None:
    """A copy of a checkpoint with another one's place in the data, and what was read up to there."""
    shutil.copytree(checkpoint, to)
    progress = json.loads((to / "progress.json").read_text())
    further = json.loads((cursor_of / "progress.json").read_text())
    progress |= {key: further[key] for key in ("cursor", "left_out")}
    (to / "progress.json").write_text(json.dumps(progress))
    write_manifest(to)


@pytest.mark.parametrize("kind", ["rows", "stream", "mixture"])
def test_a_rollback_is_a_resumed_run_whose_data_is_further_on(go: Run, poison: Poison, kind: str) -> None:
    more = use(kind)
    learn_places(go, poison, *more)
    spoil(poison, 15)
    assert go(folder("run"), *ROLLBACK, *more)[0] == 0
    moved_on(Path("run/checkpoints/12"), Path("sound/checkpoints/15"), Path("other/12"))
    poison.bad = {}
    assert go(folder("reference"), "--trainer.resume_from_checkpoint=other/12", *more)[0] == 0
    assert state_of("run") == state_of("reference")
    counted = ("train/rollbacks",)
    lines = [{k: v for k, v in line.items() if k not in counted} for line in lines_of("run") if line["step"] > 12]
    assert lines == lines_of("reference")


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("action", [SKIP, ROLLBACK])
def test_a_run_that_is_killed_ends_with_the_same_bits(go: Run, poison: Poison, action: tuple[str, ...]) -> None:
    spoil(poison, 15, 18)  # rolling back: from step 15 to 12, and of the data after it, the third step is bad too
    poison.reset()
    assert go(folder("whole"), *action)[0] == 0
    begun = poison.trained
    skipped, back = progress_of("whole")["guard"]["skipped"], progress_of("whole")["guard"]["rollbacks"]
    assert (skipped, [item["step"] for item in back]) == (([15, 18], []) if action == SKIP else ([], [15, 15]))
    for number, kill_at in enumerate((15, 16, 19, begun - 2)):
        poison.reset(kill_at=kill_at)
        with pytest.raises(Killed):
            go(folder(f"run{number}"), *action)
        poison.reset()
        assert go(folder(f"run{number}"), *action, LATEST)[0] == 0
        assert_same(f"run{number}", "whole")


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_is_stopped_goes_back_to_the_same_checkpoint(go: Run, poison: Poison, workers: int) -> None:
    """A stop saves where it is; that checkpoint, which an unbroken run has not, is none to go back to."""
    spoil(poison, 15)
    one = ("--trainer.save_total_limit=1", f"--dataset.num_workers={workers}")
    assert go(folder("whole"), *ROLLBACK, *one)[0] == 0
    for number, signal_at in enumerate((14, 15, 16) if workers == 0 else (14,)):
        poison.reset(signal_at=signal_at)
        assert go(folder(f"run{number}"), *ROLLBACK, *one)[0] == 143
        poison.reset()
        status, printed = go(folder(f"run{number}"), *ROLLBACK, *one, LATEST)
        assert status == 0
        assert ("going back to step 12" in printed) == (signal_at == 14)
        assert_same(f"run{number}", "whole")
        kept = sorted(path.name for path in Path(f"run{number}/checkpoints").iterdir())
        assert kept == ["20", "22"]  # the newest, and the one to go back to


@pytest.mark.usefixtures("sound")
def test_a_run_that_began_elsewhere_goes_back_there(go: Run, poison: Poison) -> None:
    spoil(poison, 15)
    poison.reset(signal_at=14)
    assert go(folder("first"), *ROLLBACK)[0] == 143
    poison.reset()
    for name, step in (("second", 14), ("third", 12)):
        begin = f"--trainer.resume_from_checkpoint=first/checkpoints/{step}"
        assert go(folder(name), *ROLLBACK, begin)[0] == 0
    # Stopped again before it has a checkpoint of its own to go back to.
    spoil(poison, 16)
    poison.reset(signal_at=1)
    begin = "--trainer.resume_from_checkpoint=first/checkpoints/14"
    assert go(folder("fourth"), *ROLLBACK, begin)[0] == 143
    poison.reset()
    assert go(folder("fourth"), *ROLLBACK, LATEST)[0] == 0
    assert go(folder("later"), *ROLLBACK)[0] == 0
    assert_same("fourth", "later", after=12)
    spoil(poison, 15)
    assert go(folder("whole"), *ROLLBACK)[0] == 0
    assert_same("second", "whole", after=12)
    assert_same("third", "whole", after=12)


@pytest.mark.usefixtures("sound")
@pytest.mark.parametrize(("bad", "stopped_at"), [((15, 17, 19), 14), ((13, 14, 15), 13)])
def test_going_back_ends_where_one_checkpoint_does_not_help(
    go: Run, poison: Poison, bad: tuple[int, ...], stopped_at: int
) -> None:
    """Where the very first step after it is bad again, what is saved takes the checkpoint's own place."""
    spoil(poison, *bad)
    with pytest.raises(UserError) as said:
        go(folder("run"), *ROLLBACK, "--trainer.guard.limit=2")
    assert str(said.value).startswith(f"step {stopped_at}: the loss spikes")
    assert "the run has gone back to step 12 2 times already (trainer.guard.limit)" in str(said.value)
    assert "--trainer.guard.limit 4" in str(said.value)
    assert go(folder("run"), *ROLLBACK, LATEST, "--trainer.guard.limit=3")[0] == 0
    assert go(folder("whole"), *ROLLBACK, "--trainer.guard.limit=3")[0] == 0
    assert_same("run", "whole")


@pytest.mark.usefixtures("sound")
def test_without_a_checkpoint_to_go_back_to_the_step_is_skipped(go: Run, poison: Poison) -> None:
    spoil(poison, 3, factor=NAN)
    status, printed = go(folder("run"), *ROLLBACK)
    assert status == 0
    assert "step 3  cannot go back: there is no intact checkpoint of trainer.save_steps yet" in printed
    assert "step 3  skipped: the gradient is not finite" in printed
    assert go(folder("skipped"), *SKIP)[0] == 0
    assert_same("run", "skipped")


@pytest.mark.usefixtures("sound")
def test_a_damaged_checkpoint_is_passed_over(go: Run, poison: Poison, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(poison, 15)
    target = Rollback.target

    def damaged(self: Rollback, step: int) -> object:
        Path("run/checkpoints/12/progress.json").write_text("{}")
        return target(self, step)

    monkeypatch.setattr(Rollback, "target", damaged)
    status, printed = go(folder("run"), *ROLLBACK)
    assert status == 0
    assert "run/checkpoints/12 is damaged and is passed over: progress.json" in printed
    assert "going back to step 8" in printed
    assert Path("run/superseded/001/checkpoints/12").is_dir()
    assert [line["step"] for line in lines_of("run") if "train/loss" in line] == list(range(1, STEPS + 1))


@pytest.mark.parametrize("kind", ["stream", "mixture"])
def test_streams_and_mixtures_go_back_too(go: Run, poison: Poison, kind: str) -> None:
    more = use(kind)
    learn_places(go, poison, *more)
    spoil(poison, 15)
    poison.reset()
    assert go(folder("whole"), *ROLLBACK, *more)[0] == 0
    for number, kill_at in enumerate((15, 17)):
        poison.reset(kill_at=kill_at)
        with pytest.raises(Killed):
            go(folder(f"run{number}"), *ROLLBACK, *more)
        poison.reset()
        assert go(folder(f"run{number}"), *ROLLBACK, *more, LATEST)[0] == 0
        assert_same(f"run{number}", "whole")


def test_the_last_step_of_data_that_ends_is_skipped(go: Run, poison: Poison) -> None:
    mix("stop")
    status, _ = go(folder("sound"), "--trainer.max_steps=100")
    assert status == 3
    last = len(poison.places) - 1
    spoil(poison, last)
    status, printed = go(folder("run"), *ROLLBACK, "--trainer.max_steps=100")
    assert status == 3
    assert f"step {last}  does not go back: there is no data after it to go on with" in printed
    assert f"step {last}  skipped: the loss spikes" in printed
