"""Settings files of both published forms become recipes that pass the check, and every setting is accounted for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from neobert.cli import main
from neobert.errors import UserError
from neobert.published.convert import convert
from neobert.published.recipes import recipe_text
from neobert.published.yaml_files import Settings, read_settings
from neobert.recipe import load_recipe
from neobert.recipe.moved import published

GROUPED: dict[str, Any] = {
    "pretraining": """
defaults:
  - _self_
  - dataset: web
  - tokenizer: wordpieces
  - model: [base, small]
  - optimizer: usual
  - scheduler: wave
  - trainer: long
  - dataloader: two
  - datacollator: masks
seed: 3
hydra: {run: {dir: logs}}
wandb: {name: null, project: mine, tags: [], mode: offline, log_interval: 50}
""",
    "dataset/web": "{name: web, column: content, path_to_disk: here/on_disk, train: {path: someone/web, split: train}}",
    "tokenizer/wordpieces": "{pretrained_model_name_or_path: pieces, trust_remote_code: True, max_length: 1024}",
    "model/base": "{rope: True, hidden_act: swiglu, dropout_prob: 0, norm_eps: 1e-05, hidden_size: 768}",
    "model/small": "{hidden_size: 128, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 256}",
    "optimizer/usual": "{name: AdamW, hparams: {lr: 6e-4, betas: [0.9, 0.95], eps: 1e-8, weight_decay: 0.1}}",
    "scheduler/wave": "{warmup_steps: 2000, decay_steps: 900000, decay: cosine}",
    "trainer/long": """
tf32: True
mixed_precision: bf16
resume: True
disable_tqdm: False
max_steps: 1000000
gradient_clipping: 1
accelerate: {save_steps: 1000, max_ckpt: 5}
model: {save_steps: 10000, max_ckpt: 1000}
dir: ${oc.env:LOGS,logs}/run-${seed}
""",
    "dataloader/two": "{train: {num_workers: 2, batch_size: 64, shuffle: yes, pin_memory: yes, pack_sequences: yes}}",
    "datacollator/masks": "{mlm_probability: 0.2, pad_to_multiple_of: 8, mask_all: true}",
}
NESTED = """
task: pretraining
variables: {root: ./outputs, size: 128}
seed: 69
model:
  hidden_size: $variables.size
  num_hidden_layers: 2
  num_attention_heads: 2
  vocab_size: 31999
  attn_backend: flash_attn_varlen
  ngpt: false
dataset:
  name: someone/corpus
  config: en
  streaming: true
  max_seq_length: 256
  eval_split: null
  eval_samples: 100
  min_lenght: 4
tokenizer: {name: someone/pieces, max_length: 512, truncation: false}
datacollator: {pack_sequences: true}
trainer:
  output_dir: "{$variables.root}/x"
  max_steps: 1e5
  masked_logits_only_loss: false
  resume_from_checkpoint: false
  mixed_precision: true
  gradient_accumulation_steps: 0
optimizer:
  name: muonclip
  lr: 1e-4
  muon_config: {norm_factor: neobert, muon_beta: 0.9, clipping_interval: 10, clipping_layers_mapping: {}}
scheduler: {name: linear, warmup_steps: 5000, total_steps: 80000}
wandb: {enabled: false, project: p}
"""


@pytest.fixture
def grouped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOGS", raising=False)
    for name, text in GROUPED.items():
        file = tmp_path / "conf" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def test_groups_become_a_recipe(grouped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("--from-neobert", "conf", "mine.toml")) == 0
    said = capsys.readouterr().out
    recipe = load_recipe("mine.toml")
    flat = recipe.flat()
    expected = {
        "dataset.path": "someone/web",
        "dataset.text_column": "content",
        "dataset.train_split": "train",
        "dataset.max_seq_length": 1024,
        "dataset.num_workers": 2,
        "dataset.pin_memory": True,
        "tokenizer.path": "pieces",
        "tokenizer.trust_remote_code": True,
        "model.hidden_size": 128,
        "model.num_hidden_layers": 2,
        "model.norm_eps": 1e-5,
        "model.tie_word_embeddings": False,
        "model.decoder_bias": True,
        "optimizer.lr": 6e-4,
        "optimizer.betas": [0.9, 0.95],
        "optimizer.weight_decay": 0.1,
        "scheduler.warmup_steps": 2000,
        "scheduler.decay_steps": 898_000,
        "trainer.seed": 3,
        "trainer.mixed_precision": "bf16",
        "trainer.resume_from_checkpoint": "latest",
        "trainer.max_steps": 1_000_000,
        "trainer.gradient_clipping": 1,
        "trainer.save_steps": 1000,
        "trainer.save_total_limit": 5,
        "trainer.output_dir": "logs/run-3",
        "trainer.per_device_train_batch_size": 64,
        "trainer.logging_steps": 50,
        "datacollator.pack_sequences": True,
        "datacollator.mlm_probability": 0.2,
        "datacollator.mask_all": True,
        "datacollator.overflow": "truncate",
    }
    assert {key: flat[key] for key in expected} == expected
    assert [part.name for part in recipe.trackers] in (["jsonl"], ["jsonl", "wandb"]), "as it is installed or not"
    for line in (
        "scheduler.decay_steps = 900000  ->  scheduler.decay_steps = 898000: its length, after 2000 steps of warm-up",
        'dataset.path_to_disk = "here/on_disk"  ->  dataset.train.path says otherwise, and is taken',
        "trainer.disable_tqdm = false  ->  the live display is for terminals",
        "model/small",
    ):
        assert line in said
    assert "\n#   trainer.model.max_ckpt = 1000: " in Path("mine.toml").read_text()
    assert main(("mine.toml", "--check", "--trainer.use_cpu=true")) == 0


def test_one_class_becomes_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("settings.yaml").write_text(NESTED)
    assert main(("--from-neobert", "settings.yaml", "mine.toml")) == 0
    said = capsys.readouterr().out
    recipe = load_recipe("mine.toml")
    flat = recipe.flat()
    expected = {
        "model.hidden_size": 128,
        "dataset.path": "someone/corpus",
        "dataset.config": "en",
        "dataset.streaming": True,
        "dataset.max_seq_length": 256,
        "datacollator.overflow": "split",
        "datacollator.mlm_probability": 0.15,
        "trainer.output_dir": "./outputs/x",
        "trainer.max_steps": 100_000,
        "trainer.mixed_precision": "bf16",
        "trainer.gradient_accumulation_steps": 1,
        "trainer.resume_from_checkpoint": None,
        "optimizer.lr": 1e-4,
        "optimizer.adamw_lr": 1e-4,
        "optimizer.momentum": 0.9,
        "optimizer.clip_attention_logits": 50.0,
        "optimizer.weight_decay": 0.01,
        "optimizer.betas": [0.9, 0.999],
        "scheduler.decay_steps": 75_000,
    }
    assert {key: flat[key] for key in expected} == expected
    names = (recipe.optimizer.name, recipe.loss.name, recipe.model.attn_backend.name, recipe.scheduler.name)
    assert names == ("muon", "full_logits_lm", "auto", "linear")
    assert [part.name for part in recipe.trackers] == ["jsonl"]
    for line in (
        "dataset.min_lenght = 4  ->  no setting of the published code; did you mean 'dataset.min_length'?",
        "trainer.gradient_accumulation_steps = 0  ->  refused here: expected an int >= 1",
        'optimizer.muon_config.norm_factor = "neobert"  ->  only match_rms_adamw, muon_reference or original has',
        'wandb.project = "p"  ->  wandb.enabled is not true: no such tracker is listed',
        "tokenizer.max_length = 512  ->  dataset.max_seq_length says otherwise, and is taken",
        "  optimizer.betas = [0.9, 0.999]\n",
    ):
        assert line in said


@pytest.mark.parametrize("key", sorted(published()))
def test_no_setting_is_dropped_in_silence(key: str) -> None:
    """Each of the table, alone in a file, is in one list: taken, turned, or without a counterpart."""
    tree: Any = "some value"
    for part in reversed(key.split(".")):
        tree = {part: tree}
    done = convert(Settings(tree, ()))
    named = [line.key for line in (*done.turned, *done.without)] + done.same
    assert key in named
    assert not done.unknown
    assert "some value" in recipe_text(done, Path("x")) or any(line.key == key for line in done.turned)


def test_contrastive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = {
        "task": "contrastive",
        "dataset": {"name": "someone/pairs"},
        "trainer": {"max_steps": 20000},
        "contrastive": {"temperature": 0.02, "pooling": "avg"},
        "datacollator": {"mlm_probability": 0.15},
    }
    Path("settings.yaml").write_text(yaml.safe_dump(said))
    assert main(("--from-neobert", "settings.yaml", "mine.toml")) == 0
    recipe = load_recipe("mine.toml")
    assert (recipe.loss.name, recipe.loss.temperature, recipe.loss.pooling) == ("info_nce", 0.02, "mean")
    assert recipe.datacollator.name == "pairs"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: ${b}\nc: $variables.d\n", r"'b' is referred to, and is not there\n.*'variables.d' is referred to"),
        ("a: ${oc.env:NO_SUCH_VARIABLE}", "the environment has no NO_SUCH_VARIABLE"),
        ("a: ${b}\nb: ${a}", "leads back to itself"),
        ("a: 1\na: 2", "the key 'a' stands there twice"),
        ("a: [", "cannot be read as YAML"),
        ("- 1", "expected settings, as `key: value`, got list"),
        ("defaults: [{model: none_such}]", "there is no file .*none_such.yaml"),
        ("defaults: 3", "expected a list, got 3"),
        ("defaults: [3]", "expected names and {group: name}, got 3"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "settings.yaml").write_text(text)
    with pytest.raises(UserError, match=expected):
        read_settings(tmp_path / "settings.yaml")


def test_refusals(grouped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken.toml").write_text("")
    Path("glue.yaml").write_text("task: glue")
    for source, target, expected in (
        ("conf/pretrainin.yaml", "x.toml", r"there are no settings at .*did you mean conf/pretraining.yaml\?"),
        ("conf", "taken.toml", "taken.toml is there already"),
        ("conf", "no/x.toml", "there is no folder no"),
        ("glue.yaml", "x.toml", "task: 'glue' is not training: pretraining and contrastive are converted"),
    ):
        assert main(("--from-neobert", source, target)) == 2
        assert re.search(expected, capsys.readouterr().err)
    assert not Path("x.toml").exists()
