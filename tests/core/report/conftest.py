"""Runs to report on: a tiny one on a mixture that was resumed, and one of several objectives, made once."""

from __future__ import annotations

import fcntl
import io
import json
import os
import random
from pathlib import Path

import pytest
from rich.console import Console
from tests.conftest import RECIPE, WORDS, objectives_recipe, write_workdir

MIX = """
name = "mix"
weights = { lines = 0.7, "<b>bodies</b>" = 0.3 }
select = { lines = { eval_samples = 8 }, "<b>bodies</b>" = { eval_samples = 6 } }
sources.lines = { name = "files", path = "corpus.txt" }
sources."<b>bodies</b>" = { name = "files", path = "bodies.jsonl" }
"""


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the runs ``mixed`` (8 steps, resumed at 4; positions) and ``objectives`` (6 steps): one for all
    test processes. Nobody writes into it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "reported"
    folder.mkdir(exist_ok=True)
    with (folder / ".making").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".made").exists():
            _make(folder)
            (folder / ".made").touch()
    return folder


def _make(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("NEOBERT_CACHE", str(folder / "cache"))
        write_workdir(folder)
        _write_data()
        recipe = RECIPE
        for line in ('name = "files"\n', 'path = "corpus.txt"\n', "eval_samples = 8\n"):
            recipe = recipe.replace(line, "")
        recipe = recipe.replace("[dataset]", "[dataset]" + MIX)
        often = ("--trainer.eval_steps=2", "--trainer.logging_steps=1", "--trainer.gradient_accumulation_steps=1")
        buckets = ("--trainer.eval_position_buckets=[16]", "--trainer.save_steps=2")
        _train(recipe, "mixed", *often, *buckets, "--trainer.max_steps=6")
        back = ("--trainer.max_steps=8", "--trainer.resume_from_checkpoint=4")
        _train(recipe, "mixed", *often, *buckets, *back)
        two = objectives_recipe("temperature = 0.1")
        _train(two, "objectives", *often, "--trainer.eval_train_candidates=20")


def _write_data() -> None:
    rng = random.Random(1)
    rows = (json.dumps({"body": " ".join(rng.choices(WORDS, k=rng.randint(1, 60)))}) for _ in range(60))
    Path("bodies.jsonl").write_text("\n".join(rows), encoding="utf-8")
    texts = [rng.choices(WORDS, k=9) for _ in range(60)]
    pairs = (json.dumps({"query": " ".join(row[:4]), "positive": " ".join(row[3:])}) for row in texts)
    Path("pairs.jsonl").write_text("\n".join(pairs) + "\n", encoding="utf-8")


def _train(recipe: str, name: str, *overrides: str) -> None:
    from neobert.recipe import load_recipe
    from neobert.training.run import run

    Path("recipe.toml").write_text(recipe, encoding="utf-8")
    loaded = load_recipe(Path("recipe.toml"), (f"--trainer.output_dir={name}", *overrides))
    assert run(loaded, Console(file=io.StringIO(), width=200)) == 0
