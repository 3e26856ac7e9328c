"""The two recipes of docs/stages.md, written beside each other and run one after another, only smaller."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from neobert.recipe import load_recipe
from neobert.training.run import run

PAGE = Path(__file__).parent.parent / "docs" / "stages.md"
SMALL = (
    '--dataset={name = "files", path = "corpus.txt"}',
    "--dataset.eval_samples=8",
    "--datacollator.packing_window=64",
    "--model.hidden_size=32",
    "--model.num_attention_heads=2",
    "--model.num_hidden_layers=1",
    "--model.intermediate_size=64",
    "--trainer.per_device_train_batch_size=1",
    "--trainer.gradient_accumulation_steps=2",
    "--trainer.logging_steps=1",
    "--trainer.use_cpu=true",
    "--optimizer.lr=0.003",
)


@pytest.fixture
def stages(workdir: Path) -> tuple[Path, Path]:
    first, second = re.findall(
        r"^```toml[^\n]*\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (workdir / "stage1.toml").write_text(first, encoding="utf-8")
    (workdir / "stage2.toml").write_text(second, encoding="utf-8")
    return workdir / "stage1.toml", workdir / "stage2.toml"


def go(path: Path, *overrides: str) -> str:
    said = io.StringIO()
    assert run(load_recipe(path, (*SMALL, *overrides)), Console(file=said, width=200)) == 0
    return said.getvalue()


@pytest.mark.slow
def test_stage_2_begins_where_stage_1_ended(stages: tuple[Path, Path]) -> None:
    said = go(
        stages[0], "--trainer.max_steps=24", "--trainer.batch_size_warmup_steps=4", "--trainer.length_warmup_steps=6"
    )
    assert "batch-size warm-up: 1 micro-batch a step at step 0, 2 from step 4 on" in said
    assert "length warm-up: 64 tokens a sequence at step 0, 256 from step 6 on" in said
    said = go(stages[1], "--trainer.max_steps=2", "--tokenizer.path=runs/stage1/model_checkpoints/24")
    assert "tensors from runs/stage1/model_checkpoints/24" in said
    assert "warm-up" not in said
    found = [json.loads(Path(f"runs/{stage}/summary.json").read_text()) for stage in ("stage1", "stage2")]
    ended, begun = found[0]["evaluations"]["after"]["loss"], found[1]["evaluations"]["before"]["loss"]
    assert ended < found[0]["evaluations"]["before"]["loss"] - 0.3
    assert begun == pytest.approx(ended, abs=0.25)


def test_what_the_page_says_of_the_numbers(stages: tuple[Path, Path]) -> None:
    from neobert.warmup import batch_size_warmup, length_warmup

    recipe = load_recipe(stages[0])
    warmups = batch_size_warmup(recipe.trainer), length_warmup(recipe.trainer, recipe.dataset.max_seq_length)
    values = [sorted({warmup.at(step) for step in range(1000)}) for warmup in warmups]
    assert values == [[1, 2, 3, 4], [64, 128, 192, 256]]
    second = load_recipe(stages[1])
    assert batch_size_warmup(second.trainer) is length_warmup(second.trainer, 1024) is None
