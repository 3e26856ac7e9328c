"""What a run leaves behind opens with stock libraries, and computes what the encoder does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForMaskedLM, AutoTokenizer

from neobert.errors import UserError
from neobert.training.export_checkpoint import export_checkpoint

Run = Callable[..., tuple[int, str]]


def test_an_export_opens_and_guesses(go: Run) -> None:
    status, _ = go("--trainer.max_steps=2")
    assert status == 0
    folder = Path("run/model_checkpoints/2")
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer("the list of [MASK]", return_tensors="pt")
    assert encoded.input_ids[0, 0] == tokenizer.cls_token_id
    assert torch.isfinite(model(**encoded).logits).all()
    assert {"recipe.toml", "tokenizer_info.json", "manifest.json"} <= {path.name for path in folder.iterdir()}


def test_a_checkpoint_is_exported_later_to_the_same_bytes(go: Run) -> None:
    go("--trainer.max_steps=2")
    said = export_checkpoint(Path("run/checkpoints/2"), Path("later"))
    assert "exported step 2 to later" in said
    weights = Path("run/model_checkpoints/2/model.safetensors").read_bytes()
    assert Path("later/model.safetensors").read_bytes() == weights
    with pytest.raises(UserError, match="exists already"):
        export_checkpoint(Path("run/checkpoints/2"), Path("later"))
    with pytest.raises(UserError, match="no checkpoint folder"):
        export_checkpoint(Path("nowhere"), Path("later2"))
    with pytest.raises(UserError, match="no intact checkpoint"):
        export_checkpoint(Path("run"), Path("later2"))


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("--model.hidden_act=gelu", "gelu"),
        ("--model.rms_norm=false", "norm"),
        ("--model.ngpt=true", "ngpt"),
        ("--model.decoder_bias=true", "bias"),
    ],
)
def test_what_no_architecture_expresses_takes_the_published_layout(go: Run, override: str, reason: str) -> None:
    status, said = go("--trainer.max_steps=2", override)
    assert status == 0
    assert reason in said.lower()
    folder = Path("run/model_checkpoints/2")
    assert json.loads((folder / "config.json").read_text())["model_type"] == "neobert"
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert "model.encoder.weight" in file.keys()  # noqa: SIM118


def test_an_export_is_a_start(go: Run) -> None:
    go("--trainer.max_steps=2")
    status, said = go("--trainer.max_steps=2", "--model.weights=run/model_checkpoints/2", "--trainer.output_dir=second")
    assert status == 0
    assert "run/model_checkpoints/2" in said
    first = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    second = [json.loads(line) for line in Path("second/metrics.jsonl").read_text().splitlines()]
    last_before = [line["eval/loss"] for line in first if "eval/loss" in line][-1]
    assert second[0]["eval/loss"] == pytest.approx(last_before, abs=1e-4)
