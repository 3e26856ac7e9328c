"""docs/coming_from_neobert.md and the refusal of keys that moved say the same."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from neobert.errors import RecipeError
from neobert.kinds import KINDS
from neobert.recipe import load_recipe
from neobert.recipe.moved import moved, published
from neobert.recipe.trainer import TrainerOptions
from neobert.registry import default_registry

TEXT = (Path(__file__).parents[2] / "docs" / "coming_from_neobert.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", TEXT, flags=re.MULTILINE))

# Settings of the published tools with the values that they have there.
OLD = """\
use_deepspeed = true
seed = 0
[trainer]
masked_logits_only_loss = true
report_to = ["wandb"]
[trainer.accelerate]
save_steps = 1000
[contrastive]
temperature = 0.05
[wandb]
enabled = true
project = "neo-bert"
[glue]
task_name = "cola"
[dataset]
name = "stdlib"
[optimizer.hparams]
lr = 1e-4
"""


def keys_here() -> set[str]:
    keys = {f"trainer.{name}" for name in attrs.fields_dict(TrainerOptions)}
    keys |= {f"{kind.key}.name" for kind in KINDS.values() if kind.key}
    for kind in KINDS.values():
        classes = [plugin.options_class for plugin in default_registry().plugins if plugin.kind == kind.name]
        for cls in [*classes, *([kind.served] if kind.served else [])]:
            keys |= {f"{kind.key}.{name}" for name in attrs.fields_dict(cls)}
    return keys


def test_each_row_is_that_of_the_table():
    assert {key: setting.said for key, setting in published().items()} == ROWS


def test_each_row_that_stayed_is_a_key_here():
    stayed = {key for key, text in ROWS.items() if text.startswith("the same")}
    assert stayed - keys_here() == set()
    assert stayed & set(moved()) == set()


def test_every_key_that_a_text_points_to_exists():
    tables = "|".join(kind.key for kind in KINDS.values() if kind.key)
    pointed = {key for text in moved().values() for key in re.findall(rf"`((?:{tables}|trainer)\.\w+)", text)}
    assert pointed - keys_here() == set()


def test_old_keys_are_refused_with_their_new_place(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(OLD, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    problems = {problem.key: problem.message for problem in caught.value.problems}
    expected = [
        "use_deepspeed",
        "seed",
        "trainer.masked_logits_only_loss",
        "trainer.report_to",
        "trainer.accelerate.save_steps",
        "contrastive.temperature",
        "wandb.enabled",
        "wandb.project",
        "glue.task_name",
        "optimizer.hparams.lr",
    ]
    assert set(expected) <= set(problems) <= {*expected, *moved()}
    assert all(moved()[key] in problems[key] for key in expected)
