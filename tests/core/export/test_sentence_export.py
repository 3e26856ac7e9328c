"""An export of a loss that makes embeddings: opened by those that will open it, and by nothing of ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling
from transformers import AutoModel, AutoTokenizer

from neobert.embedding.texts import embed_sequences, token_ids
from neobert.export import export_model
from neobert.export.prompts import Prompts
from neobert.export.provenance import Origin

TEXTS = ["the world of some other day", "a", "and they were here before " * 20, "who will have been there"]
THEIR_POOLING = {
    "mean": "mean",
    "cls": "cls",
    "max": "max",
    "last": "lasttoken",
    "weighted_mean": "weightedmean",
}
Make = Callable[..., Any]


def exported(trained: Any, folder: Path = Path("export"), **more: Any) -> tuple[str, ...]:
    return export_model(folder, trained.encoder, {"": trained.loss}, trained.recipe, trained.context, **more)


def own(trained: Any, prompt: str = "") -> torch.Tensor:
    """What the loss makes of the texts."""
    context = trained.context
    sequences = token_ids(context.tokenizer, TEXTS, context.max_seq_length, prompt)
    trained.encoder.eval()
    with torch.no_grad():
        return embed_sequences(
            lambda ids, layout: trained.loss.embed(trained.encoder, ids, layout), sequences, context.device
        )


@pytest.mark.parametrize("projection", [None, 12])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("pooling", THEIR_POOLING)
def test_sentence_transformers_opens_it_and_embeds_the_same(
    make: Make, pooling: str, normalize: bool, projection: int | None
) -> None:
    trained = make(pooling=pooling, normalize=normalize, projection_size=projection, projection_bias=bool(projection))
    notes = exported(trained)
    assert any("sentence-transformers" in note for note in notes)
    model = SentenceTransformer("export", device="cpu")
    theirs = torch.from_numpy(model.encode(TEXTS))
    torch.testing.assert_close(theirs, own(trained), rtol=0, atol=1e-5 * float(theirs.abs().max()))
    kinds = [type(module).__name__ for module in model]
    assert kinds == ["Transformer", "Pooling", *["Dense"] * bool(projection), *["Normalize"] * normalize]
    assert model.max_seq_length == trained.context.max_seq_length
    assert model.similarity_fn_name == ("cosine" if normalize else "dot")


def test_transformers_alone_opens_it_whole(make: Make) -> None:
    trained = make()
    exported(trained)
    model, info = AutoModel.from_pretrained("export", output_loading_info=True)
    assert not any(info.values())
    assert json.loads(Path("export/config.json").read_text())["architectures"] == [type(model).__name__]
    tokenizer = AutoTokenizer.from_pretrained("export")
    encoded = tokenizer(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        mean = model(**encoded).last_hidden_state[0].mean(0)
    torch.testing.assert_close(mean / mean.norm(), own(trained)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", THEIR_POOLING)
def test_the_files_are_what_the_library_itself_writes(make: Make, pooling: str, tmp_path: Path) -> None:
    """Saved again by the library, ours become what it writes of modules that it made."""
    trained = make(pooling=pooling, projection_size=12)
    exported(trained)
    ours = SentenceTransformer("export", device="cpu")
    width = trained.encoder.hidden_size
    layer = Dense(width, 12, bias=False, activation_function=torch.nn.Identity())
    modules = [ours[0], Pooling(width, THEIR_POOLING[pooling]), layer, Normalize()]
    theirs = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="cosine")
    for name, model in (("ours", ours), ("theirs", theirs)):
        model.save(str(tmp_path / name), create_model_card=False)
    files = [path.relative_to(tmp_path / "theirs") for path in (tmp_path / "theirs").rglob("*.json")]
    assert {"modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"} <= {f.name for f in files}
    for file in files:
        assert (tmp_path / "ours" / file).read_text() == (tmp_path / "theirs" / file).read_text(), file


def test_opening_it_warns_of_nothing(make: Make, caplog: pytest.LogCaptureFixture, recwarn: Any) -> None:
    exported(make(projection_size=12))
    caplog.clear()
    recwarn.clear()
    with caplog.at_level(logging.WARNING):
        SentenceTransformer("export", device="cpu")
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []


def test_prompts_are_those_of_training(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = Prompts({"query": "who said: ", "document": "it was said: "})
    monkeypatch.setattr("neobert.export.plan.prompts_of", lambda recipe: prompts)
    trained = make()
    exported(trained)
    model = SentenceTransformer("export", device="cpu")
    for embed, prompt in (
        (model.encode_query, "who said: "),
        (model.encode_document, "it was said: "),
        (model.encode, ""),
    ):
        torch.testing.assert_close(torch.from_numpy(embed(TEXTS)), own(trained, prompt), rtol=0, atol=1e-5)


def test_without_the_library_the_files_are_read_and_compared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("neobert.export.compare_embeddings._version", lambda: None)
    notes = exported(make(pooling="weighted_mean", projection_size=12, projection_bias=True))
    assert any("sentence-transformers is not installed" in note for note in notes)


@pytest.mark.parametrize("library", [True, False])
def test_files_that_say_something_else_stop_the_export(
    make: Make, monkeypatch: pytest.MonkeyPatch, library: bool
) -> None:
    from neobert.export import folder

    write = folder.write_sentence_files

    def wrong(directory: Path, *arguments: Any) -> None:
        write(directory, *arguments)
        file = directory / "1_Pooling" / "config.json"
        said = json.loads(file.read_text())
        file.write_text(json.dumps(said | {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}))

    monkeypatch.setattr(folder, "write_sentence_files", wrong)
    if not library:
        monkeypatch.setattr("neobert.export.compare_embeddings._version", lambda: None)
    with pytest.raises(RuntimeError, match="does not embed as the loss does"):
        exported(make())
    assert not Path("export").exists()


def test_a_model_of_no_native_architecture_says_why_it_is_not_opened(make: Make) -> None:
    notes = exported(make("--model.ngpt=true", projection_size=12))
    assert any("ngpt" in note for note in notes)
    assert any("sentence-transformers opens it" in note for note in notes)
    assert "No native architecture" in Path("export/README.md").read_text()
    assert Path("export/2_Dense/model.safetensors").is_file()


def test_a_loss_whose_head_is_not_what_it_does_is_exported_without(make: Make) -> None:
    trained = make()

    embed = trained.loss.embed
    trained.loss.embed = lambda *arguments: 2.0 * embed(*arguments)
    notes = exported(trained)
    assert any("not what its sentence_head says" in note for note in notes)
    assert not Path("export/modules.json").exists()
    AutoModel.from_pretrained("export")


def test_the_card_has_recipe_and_results(make: Make) -> None:
    trained = make()
    figures = {"before": {"mrr@10": 0.25}, "after": {"mrr@10": 0.5, "loss": 1.0}}
    exported(
        trained,
        origin=Origin(step=1, tokens_seen=2, data_fingerprint="", tokenizer_fingerprint="", evaluations=figures),
    )
    card = Path("export/README.md").read_text()
    assert "| mrr@10 | 0.2500 | 0.5000 |" in card
    assert "| loss | - | 1.0000 |" in card
    assert "model.hidden_size = 32" in card
    assert "output_dir" not in card
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")


def test_a_masked_language_model_has_no_such_files(make: Make) -> None:
    trained = make()
    loss = trained.recipe.loss.build(trained.context)
    export_model(Path("export"), trained.encoder, {"": loss}, trained.recipe, trained.context)
    names = {path.name for path in Path("export").iterdir()}
    assert not names & {"modules.json", "README.md", "1_Pooling", "config_sentence_transformers.json"}
