"""ONNX files: run by onnxruntime as their users run them, with outputs that the other libraries compute too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForMaskedLM, AutoTokenizer

from neobert.batch import SequenceLayout
from neobert.cli import main
from neobert.contrast.pooling import pool_hidden
from neobert.errors import UserError
from neobert.export import export_model, onnx_file
from neobert.export.padded import pool_padded

TEXTS = ["the list of all items", "a", "none was set before it is returned " * 20, "no value"]
Make = Callable[..., Any]
Run = Callable[..., tuple[int, str]]


def run(folder: Path, texts: list[str], **more: Any) -> dict[str, NDArray[np.float32]]:
    """What a user does: the folder's tokenizer, its file, nothing of ours."""
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="np", **more)
    names = [value.name for value in session.get_outputs()]
    wanted = {value.name for value in session.get_inputs()}
    assert wanted == {"input_ids", "attention_mask"}
    return dict(zip(names, session.run(names, {name: encoded[name] for name in wanted}), strict=True))


def test_a_masked_language_model_by_the_command(go: Run, capsys: pytest.CaptureFixture[str]) -> None:
    go("--trainer.max_steps=3")
    assert main(("--export", "run/checkpoints/3", "out", "--format", "onnx")) == 0
    assert "onnx/model.onnx gives logits, the run's own as onnxruntime" in capsys.readouterr().out
    model, tokenizer = AutoModelForMaskedLM.from_pretrained("out"), AutoTokenizer.from_pretrained("out")
    for texts in (TEXTS, TEXTS[1:2], TEXTS * 3):
        encoded = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
        mask = encoded["attention_mask"].bool()
        with torch.no_grad():
            theirs = model(input_ids=encoded["input_ids"], attention_mask=mask).logits
        found = torch.from_numpy(run(Path("out"), texts)["logits"])
        torch.testing.assert_close(found[mask], theirs[mask], rtol=0, atol=1e-4)
    text = Path("out/onnx/model.onnx").read_bytes()
    assert b"neobert/" not in text, "no path of this machine"
    onnx.checker.check_model("out/onnx/model.onnx")
    made = json.loads(Path("out/provenance.json").read_text())
    assert (made["step"], made["weights"], made["libraries"]["torch"]) == (3, "trained", torch.__version__)
    progress = json.loads(Path("run/checkpoints/3/progress.json").read_text())
    assert all(made[name] == progress[name] for name in ("tokens_seen", "data_fingerprint", "tokenizer_fingerprint"))
    assert made == json.loads(Path("run/model_checkpoints/3/provenance.json").read_text())


def test_an_embedding_model_pools_inside(make: Make) -> None:
    trained = make(pooling="weighted_mean", projection_size=12, projection_bias=True)
    arguments = trained.encoder, {"": trained.loss}, trained.recipe, trained.context
    notes = export_model(Path("out"), *arguments, onnx=True)
    assert any("last_hidden_state and sentence_embedding" in note for note in notes)
    theirs = SentenceTransformer("out", device="cpu").encode(TEXTS)
    for more in ({}, {"padding_side": "left"}):
        np.testing.assert_allclose(run(Path("out"), TEXTS, **more)["sentence_embedding"], theirs, atol=1e-4)
    np.testing.assert_allclose(run(Path("out"), TEXTS[:1])["sentence_embedding"], theirs[:1], atol=1e-4)
    outputs, loss = ("last_hidden_state", "sentence_embedding"), trained.loss
    with torch.no_grad():
        loss.embedder.projection.bias.add_(1.0)
    with pytest.raises(RuntimeError, match=r"does not compute what the run does: sentence_embedding differs by"):
        onnx_file._compare(Path("out/onnx/model.onnx"), outputs, trained.encoder.eval(), loss, loss, trained.context)


def test_a_model_that_no_other_library_has(make: Make) -> None:
    """Normalised blocks with a window: compared with the token stream when it is written."""
    trained = make("--model.ngpt=true", "--model.window=4", "--model.global_every=2", pooling="cls")
    export_model(Path("out"), trained.encoder, {"": trained.loss}, trained.recipe, trained.context, onnx=True)
    found = run(Path("out"), TEXTS)
    left = run(Path("out"), TEXTS, padding_side="left")
    np.testing.assert_allclose(found["sentence_embedding"], left["sentence_embedding"], atol=1e-4)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last", "weighted_mean"])
@pytest.mark.parametrize("left", [False, True])
def test_pooling_over_padding_is_that_of_the_stream(pooling: Any, left: bool) -> None:
    lengths = (3, 1, 5)
    hidden = torch.randn(sum(lengths), 6)
    rows = torch.randn(3, 5, 6) * 100
    mask = torch.zeros(3, 5, dtype=torch.bool)
    for row, part in enumerate(hidden.split(lengths)):
        place = slice(5 - len(part), 5) if left else slice(0, len(part))
        rows[row, place], mask[row, place] = part, True
    expected = pool_hidden(hidden, SequenceLayout.from_lengths(lengths), pooling)
    torch.testing.assert_close(pool_padded(rows, mask, pooling), expected)


def test_refusals(make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    trained = make()
    Path("somewhere").mkdir()
    assert main(("--export", "somewhere", "out", "--format", "onx")) == 2
    assert "--format onx: unknown; did you mean 'onnx'?; expected safetensors or onnx" in capsys.readouterr().err
    monkeypatch.setattr(type(trained.encoder), "_check_length", lambda encoder, layout: layout.lengths[0])
    with pytest.raises(UserError, match="model 'neobert' cannot be written as ONNX: torch cannot trace it"):
        export_model(Path("out"), trained.encoder, {"": trained.loss}, trained.recipe, trained.context, onnx=True)
    monkeypatch.setattr(onnx_file, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'neobert\[onnx\]'"):
        onnx_file.require_onnx()
