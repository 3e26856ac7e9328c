"""``--profile``: phases that sum up, a trace that opens, and nothing left in the run's own folder."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

from neobert import cli
from neobert.data import TrainingData
from neobert.errors import UserError
from neobert.recipe import load_recipe
from neobert.training.phases import ORDER
from neobert.training.profile import WARM_UP, profile
from neobert.training.profile_tables import show_profile


@pytest.mark.parametrize("checkpointing", ["false", "true"])
def test_phases_trace_and_folder(workdir: Path, checkpointing: str) -> None:
    recipe = load_recipe("recipe.toml", [f"--trainer.gradient_checkpointing={checkpointing}", "--trainer.save_steps=1"])
    text = io.StringIO()
    console = Console(file=text, width=120)
    found = profile(recipe, 2, console)
    assert found.steps == 2
    assert tuple(name for name in ORDER if name in found.phases) == ORDER
    assert set(found.phases) == set(ORDER)
    assert all(seconds > 0 for seconds in found.phases.values())
    assert sum(found.phases.values()) <= found.seconds
    assert found.tokens > 0
    assert found.operators
    assert sorted(path.name for path in Path("run-profile").iterdir()) == ["trace.json"]
    assert not Path("run").exists()
    events = json.loads(found.trace.read_text(encoding="utf-8"))["traceEvents"]
    named = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert set(ORDER) <= set(named)
    # Two micro-batches a step, each with one backward pass: what is computed again in it is no second forward.
    assert named.count("backward") == 4
    assert named.count("forward: attention") == 8
    show_profile(found, console)
    assert "forward: attention" in text.getvalue()
    assert "aten::" in text.getvalue()


def test_a_run_that_ends_while_it_warms_up_shows_nothing(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neobert.training.profile.train", lambda *_: None)
    with pytest.raises(UserError, match="ended after 0 steps, and the first 5 only warm up"):
        profile(load_recipe("recipe.toml"), 2, Console(file=io.StringIO()))


def test_steps_are_a_number(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["recipe.toml", "--profile", "some"]) == 2
    assert "--profile some: expected how many steps" in capsys.readouterr().err
    assert WARM_UP > 0


def test_data_that_fails_claims_nothing_saved(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TrainingData.steps

    def failing(self: TrainingData, *where: object) -> Iterator[object]:
        yield from islice(real(self, *where), 2)
        raise UserError("row 7 is gone")

    monkeypatch.setattr(TrainingData, "steps", failing)
    with pytest.raises(UserError) as refused:
        profile(load_recipe("recipe.toml"), 2, Console(quiet=True))
    assert str(refused.value) == "row 7 is gone"
