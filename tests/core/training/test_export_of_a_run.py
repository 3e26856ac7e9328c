"""What a run leaves behind opens with stock libraries, and computes what the encoder does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tests.conftest import NEEDS_ULTRABERT
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

from neobert.errors import UserError
from neobert.export import compare, opening_command
from neobert.export.native import encoder_class
from neobert.training.export_checkpoint import export_checkpoint
from neobert_plugins.models import layouts

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


YARN = "--model.rope_scaling={type = 'yarn', factor = 4, original_max_position_embeddings = 100}"
LONGER = "--model.max_position_embeddings=400"
LOCAL = ("--model.global_every=2", "--model.window=40")


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lengths of the sequences at which an export was compared."""
    lengths: list[int] = []
    real = compare.samples

    def watched(*arguments: Any) -> list[torch.Tensor]:
        samples = real(*arguments)
        lengths.extend(map(len, samples))
        return samples

    monkeypatch.setattr(compare, "samples", watched)
    return lengths


def test_stretched_angles_are_exported_and_compared_past_the_trained_length(go: Run, compared: list[int]) -> None:
    status, said = go("--trainer.max_steps=2", LONGER, YARN)
    assert status == 0
    assert max(compared) == 101
    assert "fill-mask" in said
    folder = Path("run/model_checkpoints/2")
    model, info = AutoModelForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    assert model.config.rope_parameters["rope_type"] == "yarn"
    assert torch.isfinite(model(input_ids=torch.arange(400)[None] % 20).logits).all()


@NEEDS_ULTRABERT
def test_blocks_with_a_window_are_exported_natively_without_the_head(go: Run, compared: list[int]) -> None:
    status, said = go("--trainer.max_steps=2", *LOCAL, LONGER, YARN)
    assert status == 0
    assert set(compared) >= {82, 101}
    assert "no ultrabert has a head that is one linear layer: the encoder alone is exported; the head is its" in said
    assert "fill-mask" not in said
    assert "AutoModel.from_pretrained('run/model_checkpoints/2')" in said
    model, info = AutoModel.from_pretrained(Path("run/model_checkpoints/2"), output_loading_info=True)
    assert not any(info.values())
    assert model.config.architectures == ["UltrabertModel"]
    assert model.config.sliding_window == 40


@NEEDS_ULTRABERT
def test_a_head_that_would_be_lost_keeps_blocks_with_a_window_in_the_published_layout(go: Run) -> None:
    status, said = go("--trainer.max_steps=2", *LOCAL, "--model.tie_word_embeddings=false")
    assert status == 0
    assert "(the nearest, ultrabert, lacks a head that is one linear layer): exported in the layout 'neobert'" in said
    assert "from_pretrained" not in said
    assert "fill-mask" not in said
    config = json.loads(Path("run/model_checkpoints/2/config.json").read_text())
    assert (config["global_every"], config["window"]) == (2, 40)
    again = ("--model.tie_word_embeddings=false", "--model.weights=run", "--trainer.output_dir=second", *LOCAL)
    assert go("--trainer.max_steps=2", *again)[0] == 0


@NEEDS_ULTRABERT
def test_an_export_with_another_window_is_none(go: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sequence that is compared is long enough to show one token."""
    real = layouts._with_windows
    monkeypatch.setattr(layouts, "_with_windows", lambda options: real(options) | {"sliding_window": 41})
    with pytest.raises(RuntimeError, match="does not compute what the encoder does"):
        go("--trainer.max_steps=2", *LOCAL, LONGER)


def test_an_encoder_of_a_loss_without_a_head_says_so_in_its_architecture(tmp_path: Path) -> None:
    assert encoder_class({"model_type": "eurobert", "vocab_size": 9, "pad_token_id": 0}) == "EuroBertModel"
    folder = tmp_path / "export"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "eurobert", "architectures": ["EuroBertModel"]}')
    assert "AutoModel.from_pretrained" in (opening_command(folder, "a [MASK]") or "")
    (folder / "config.json").write_text('{"model_type": "neobert"}')
    assert opening_command(folder, "a [MASK]") is None


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
