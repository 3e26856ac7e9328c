"""The best checkpoint by a metric: found, kept by retention, named, and known again on resuming."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from neobert.errors import RecipeError, UserError
from neobert.recipe.trainer import TrainerOptions
from neobert.training import evaluating
from neobert.training.best import Best, improvement, is_lowest_best, require_metric

Run = Callable[..., tuple[int, str]]
LOSSES = {0: 5.0, 1: 3.0, 2: 1.0, 3: 2.0, 4: 4.0, 5: 4.5, 6: 3.5}


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Evaluations whose losses are these, by how many updates the weights have had."""
    losses = dict(LOSSES)

    def evaluate(parts: Any, *others: Any) -> Mapping[str, float]:
        done = {int(state["step"]) for state in parts.optimizer.state.values() if "step" in state}
        return {"loss": losses[max(done, default=0)], "accuracy": 0.5}

    monkeypatch.setattr(evaluating, "evaluate", evaluate)
    return losses


def run_with(
    go: Run, *more: str, steps: int = 6, metric: str = "eval/loss", every: int = 3, limit: int = 1
) -> tuple[int, str]:
    return go(
        "--optimizer=adamw",
        f"--trainer.metric_for_best={metric}",
        "--trainer.eval_steps=1",
        f"--trainer.save_steps={every}",
        f"--trainer.save_total_limit={limit}",
        f"--trainer.max_steps={steps}",
        *more,
    )


def kept(folder: str) -> list[int]:
    return sorted(int(path.name) for path in Path("run", folder).iterdir())


def test_the_best_step_is_saved_kept_and_named(go: Run, scripted: dict[int, float]) -> None:
    status, said = run_with(go)
    assert status == 0
    assert kept("checkpoints") == kept("model_checkpoints") == [2, 6]
    best = json.loads(Path("run/best.json").read_text())
    assert best == {
        "step": 2,
        "metric": "eval/loss",
        "value": 1.0,
        "folders": ["checkpoints/2", "model_checkpoints/2"],
    }
    assert "step 2  the best so far: eval/loss 1.0000" in said
    assert "best: step 2, eval/loss 1.0000 (kept)" in said
    assert "of the best step" in said
    assert json.loads(Path("run/summary.json").read_text())["best"]["step"] == 2


def test_highest_where_the_recipe_says_so(go: Run, scripted: dict[int, float]) -> None:
    run_with(go, "--trainer.best_is=highest")
    assert json.loads(Path("run/best.json").read_text())["step"] == 5


def test_resuming_keeps_it(go: Run, scripted: dict[int, float]) -> None:
    run_with(go, steps=3)
    assert kept("checkpoints") == [2, 3]
    status, said = run_with(go, "--trainer.resume_from_checkpoint=latest")
    assert status == 0
    assert kept("checkpoints") == [2, 6]
    assert "best: step 2" in said
    assert json.loads(Path("run/best.json").read_text())["step"] == 2


def test_resuming_before_it_forgets_it(go: Run, scripted: dict[int, float]) -> None:
    run_with(go, steps=3, every=1, limit=9)
    scripted[2] = 9.0  # as if other data came now
    status, _ = run_with(go, "--trainer.resume_from_checkpoint=1", steps=3, every=1, limit=9)
    assert status == 0
    assert json.loads(Path("run/best.json").read_text())["step"] == 3


def test_one_that_is_not_there_any_more_is_said(go: Run, scripted: dict[int, float]) -> None:
    import shutil

    run_with(go, steps=3)
    for folder in ("checkpoints", "model_checkpoints"):
        shutil.rmtree(f"run/{folder}/2")
    status, said = run_with(go, "--trainer.resume_from_checkpoint=latest")
    assert status == 0
    assert "step 2, the best so far, is not in" in said
    assert json.loads(Path("run/best.json").read_text())["step"] == 6


def test_another_metric_begins_anew(go: Run, scripted: dict[int, float]) -> None:
    run_with(go, steps=3)
    _, said = run_with(go, "--trainer.resume_from_checkpoint=latest", metric="eval/accuracy")
    assert "was the best by eval/loss" in said
    assert json.loads(Path("run/best.json").read_text())["metric"] == "eval/accuracy"


def test_without_the_key_nothing_is_the_best(go: Run) -> None:
    assert go("--trainer.max_steps=2", "--trainer.eval_steps=1")[0] == 0
    assert not Path("run/best.json").exists()
    assert kept("checkpoints") == [2]


def test_weights_are_the_same_with_it(go: Run) -> None:
    go("--trainer.max_steps=3", "--trainer.eval_steps=1")
    go(
        "--trainer.max_steps=3",
        "--trainer.eval_steps=1",
        "--trainer.metric_for_best=eval/loss",
        "--trainer.output_dir=b",
    )
    files = [Path(folder, "checkpoints/3/model.safetensors") for folder in ("run", "b")]
    if not files[0].exists():
        files = [next(Path(folder, "checkpoints/3").glob("*.safetensors")) for folder in ("run", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_metric_that_is_never_reported_is_refused_with_those_that_are(go: Run) -> None:
    with pytest.raises(UserError) as error:
        go("--trainer.metric_for_best=eval/los")
    said = str(error.value)
    assert "did you mean eval/loss?" in said
    assert "it reports: eval/loss, eval/perplexity" in said
    assert not Path("run/checkpoints").exists()


def test_without_held_out_data_it_is_refused(go: Run) -> None:
    with pytest.raises(UserError, match="no held-out data"):
        go("--trainer.metric_for_best=eval/loss", "--dataset.eval_samples=none")


def test_best_is_without_a_metric_has_no_effect(go: Run) -> None:
    with pytest.raises(RecipeError, match="has no effect"):
        go("--trainer.best_is=lowest")


def options(name: str, best_is: Any = None) -> TrainerOptions:
    return TrainerOptions(metric_for_best=name, best_is=best_is, export_attn_backend="eager")


@pytest.mark.parametrize(
    ("name", "lowest"),
    [
        ("eval/loss", True),
        ("eval/loss/web", True),
        ("eval/dim_64/loss", True),
        ("eval/ema/perplexity", True),
        ("eval/uniformity", True),
        ("eval/mrr@10", False),
        ("eval/recall@100", False),
        ("eval/spearman", False),
        ("eval/dim_64/accuracy", False),
    ],
)
def test_which_way_is_good_is_known_by_the_name(name: str, lowest: bool) -> None:
    assert is_lowest_best(options(name)) is lowest
    assert is_lowest_best(options(name, "lowest" if not lowest else "highest")) is not lowest


def test_a_name_that_tells_nothing_asks_for_it() -> None:
    with pytest.raises(UserError, match="best_is"):
        require_metric(options("eval/strange"), ["eval/strange"])
    require_metric(options("eval/strange", "lowest"), ["eval/strange"])


def test_equal_and_undefined_values_are_no_improvement() -> None:
    trainer, so_far = options("eval/loss"), Best(3, "eval/loss", 2.0)
    assert improvement(trainer, {"eval/loss": 2.0}, 4, so_far) is None
    assert improvement(trainer, {"eval/loss": math.nan}, 4, None) is None
    assert improvement(trainer, {"eval/loss": 1.9}, 4, so_far) == Best(4, "eval/loss", 1.9)
    assert improvement(options("eval/mrr@10"), {"eval/mrr@10": 0.1}, 4, Best(3, "eval/mrr@10", 0.2)) is None
