"""What `--check` and a run say of a backend that cannot train here, and of one that chooses."""

from __future__ import annotations

import pytest
import torch

from neobert import RecipeError
from neobert.recipe import load_recipe
from neobert.training.devices import place, refuse_unfit_device
from neobert.training.environment import describe_environment
from neobert.training.inspect import describe

RECIPE = """
[model]
hidden_size = 32
num_hidden_layers = 1
num_attention_heads = 2
dropout_prob = {dropout}
attn_backend = "{backend}"
[dataset]
name = "stdlib"
max_seq_length = 32
[trainer]
max_steps = 1
output_dir = "run"
use_cpu = true
mixed_precision = "{precision}"
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def load(backend, precision="no", dropout=0.0):
        (tmp_path / "recipe.toml").write_text(RECIPE.format(backend=backend, precision=precision, dropout=dropout))
        return load_recipe("recipe.toml")

    return load


@pytest.mark.parametrize("refusing", [refuse_unfit_device, describe], ids=["run", "check"])
@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ("varlen", "runs on cuda, and this run is on cpu"),
        ("flex", "trains on cuda, and this run is on cpu"),
    ],
)
def test_a_backend_that_cannot_train_here_is_refused_at_its_line(recipe, refusing, backend, reason):
    loaded = recipe(backend, precision="bf16")
    with pytest.raises(RecipeError) as caught:
        refusing(loaded)
    assert str(caught.value).splitlines() == [
        f'recipe.toml:7: model.attn_backend.name = "{backend}"',
        f"  {reason}",
        "  name one that can do this here: auto, eager, sdpa",
    ]


@pytest.mark.parametrize("backend", ["flash_attn_varlen", "flash_attn_4_varlen"])
def test_a_backend_whose_package_is_missing_is_refused_with_the_line_that_installs_it(recipe, backend):
    with pytest.raises(RecipeError) as caught:
        recipe(backend)
    where, reason, install, others = str(caught.value).splitlines()
    assert where == f'recipe.toml:7: model.attn_backend = "{backend}"'
    assert "cannot run here: needs flash-attn" in reason
    assert install.startswith('  pip install "flash-attn')
    assert others == "  or name another: auto, eager, flex, sdpa, varlen"


@pytest.mark.parametrize("backend", ["auto", "sdpa", "eager"])
def test_dropout_is_no_reason_to_refuse_those_that_have_it(recipe, backend):
    refuse_unfit_device(recipe(backend, dropout=0.1))


def test_what_was_chosen_is_shown_by_check_and_kept_with_the_run(recipe):
    loaded = recipe("auto")
    shown = dict(describe(loaded))["model.attn_backend"]
    threads = torch.get_num_threads()
    try:
        kept = describe_environment(loaded, place(loaded.trainer))
    finally:
        torch.set_num_threads(threads)
    assert shown.startswith("sdpa: flash_attn_varlen needs ")
    assert kept["chosen"] == {"model.attn_backend": shown}
    assert 'attn_backend = "auto"' in loaded.to_toml() or 'name = "auto"' in loaded.to_toml()
