"""The built-in plugins pass the very suites that strangers run on theirs."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from neobert import testing
from neobert.registry import default_registry

SMALL_MODEL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
CASES = [
    ("attn_backend", "sdpa", {}),
    ("attn_backend", "eager", {}),
    ("attn_backend", "auto", {}),
    ("model", "neobert", SMALL_MODEL),
    ("model", "neobert", {**SMALL_MODEL, "attn_backend": "eager", "dropout_prob": 0.2}),
    ("model", "neobert", {**SMALL_MODEL, "ngpt": True}),
    ("model", "neobert", {**SMALL_MODEL, "rope": False, "rms_norm": False, "hidden_act": "gelu"}),
    ("model", "neobert", {**SMALL_MODEL, "global_every": 2, "window": 2, "local_rope_theta": 50.0}),
    ("tokenizer", "train_wordpiece", {"vocab_size": 90}),
    ("dataset", "stdlib", {"material": ("topics",)}),
    ("datacollator", "mlm", {}),
    ("datacollator", "mlm", {"mlm_probability": 1.0, "mask_all": True}),
    ("datacollator", "pairs", {}),
    ("datacollator", "sentences", {}),
    ("datacollator", "labelled", {}),
    ("datacollator", "scored_pairs", {}),
    ("datacollator", "scored", {}),
    ("datacollator", "joined_labelled", {}),
    ("datacollator", "joined_scored", {}),
    ("loss", "masked_lm", {}),
    ("loss", "full_logits_lm", {}),
    ("loss", "info_nce", {}),
    ("loss", "simcse", {"pooling": "cls"}),
    ("loss", "supcon", {"pooling": "last"}),
    ("loss", "cosent", {}),
    ("loss", "cosine_mse", {}),
    ("loss", "classification", {}),
    ("loss", "classification", {"pooling": "cls", "label_smoothing": 0.1, "dropout": 0.0}),
    ("loss", "classification", {"pooling": "late", "labels": ("a", "b", "c")}),
    ("loss", "regression", {}),
    ("loss", "matryoshka", {"dims": (8, 4)}),
    ("loss", "distill", {}),
    ("loss", "distill", {"match": "vector_mse", "teacher_size": 8}),
    ("optimizer", "adamw", {}),
    ("optimizer", "adam", {}),
    ("optimizer", "stable_adamw", {}),
    ("optimizer", "muon", {}),
    ("optimizer", "muon", {"ns_dtype": "float32", "adjust_lr_fn": "match_rms_adamw", "nesterov": False}),
    ("optimizer", "muon", {"split_fused": False}),
    ("optimizer", "muon", {"clip_attention_logits": 0.5}),
    ("scheduler", "cosine", {"warmup_percent": 10.0}),
    ("scheduler", "linear", {"warmup_steps": 7, "decay_steps": 100, "final_lr_ratio": 0.0}),
    ("scheduler", "constant", {}),
    ("scheduler", "wsd", {"warmup_steps": 3}),
    ("scheduler", "wsd", {"decay_percent": 50.0, "decay_shape": "1-sqrt"}),
    ("scheduler", "inverse_sqrt", {}),
    ("scheduler", "inverse_sqrt", {"warmup_percent": 10.0, "timescale": 20}),
    ("checkpointer", "safetensors", {}),
    ("checkpointer", "sharded", {}),
    ("checkpointer", "dcp", {}),
    ("tracker", "jsonl", {}),
    ("tracker", "tensorboard", {}),
]
_APART = "needs a CUDA device, or minutes; see tests/plugins/attention"
NOT_RUN_HERE = {
    **{
        ("attn_backend", name): _APART
        for name in ("varlen", "flash_attn_varlen", "flash_attn_3_varlen", "flash_attn_4_varlen", "flex")
    },
    ("tracker", "wandb"): "opens a run of an outside service; see tests/plugins/trackers",
    ("tracker", "mlflow"): "the same",
    ("tracker", "trackio"): "the same",
    ("tokenizer", "pretrained"): "needs a tokenizer's folder; below",
    ("dataset", "disk"): "needs a folder; below",
    ("dataset", "files"): "needs files; below",
    ("dataset", "mix"): "needs sources; see tests/plugins/datasets",
    ("dataset", "stdlib_pairs"): "parses the whole library twice; a smaller one in tests/plugins/datasets",
    ("dataset", "hub"): "needs the network; see tests/plugins/datasets",
}


@pytest.fixture(autouse=True)
def quick_and_apart(tmp_path_factory, monkeypatch):
    """One thread for tiny tensors, and a cache of the tests' own."""
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path_factory.getbasetemp() / "neobert-cache"))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check(kind: str, name: str, options: dict) -> None:
    plugin = default_registry().usable(kind, name)
    getattr(testing, f"check_{kind}")(plugin.options_class(**options))


@pytest.mark.parametrize(("kind", "name", "options"), CASES, ids=lambda value: str(value)[:40])
def test_a_built_in_keeps_its_promises(kind, name, options):
    if name == "tensorboard" and not importlib.util.find_spec("tensorboard"):
        pytest.skip("the extra `tensorboard` is not installed")
    check(kind, name, options)


def test_datasets_on_disk_keep_their_promises(tmp_path):
    from datasets import Dataset, DatasetDict

    texts = testing.context.make_texts(60)
    splits = {
        "train": Dataset.from_dict({"text": texts[:50]}),
        "validation": Dataset.from_dict({"text": texts[50:]}),
    }
    DatasetDict(splits).save_to_disk(tmp_path / "disk")
    check("dataset", "disk", {"path": str(tmp_path / "disk")})
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    check("dataset", "files", {"path": str(tmp_path / "texts.txt")})


def test_a_tokenizer_from_a_folder_keeps_its_promises(tmp_path):
    testing.make_tokenizer().save_pretrained(tmp_path)
    check("tokenizer", "pretrained", {"path": str(tmp_path)})


def test_every_built_in_is_either_checked_or_named_with_a_reason():
    built_in = {(plugin.kind, plugin.name) for plugin in default_registry().plugins if plugin.distribution == "neobert"}
    assert built_in == {(kind, name) for kind, name, _ in CASES} | set(NOT_RUN_HERE)


def test_there_is_a_suite_for_every_kind():
    from neobert.kinds import KINDS

    assert {f"check_{kind}" for kind in KINDS} == {n for n in testing.__all__ if n.startswith("check_")}
