"""What a run and its tools write, opened by the libraries that people use, as their own documentation says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import datasets
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, pipeline

from neobert.cli import main
from neobert_plugins.tokenize_command import main as tokenize

Run = Callable[..., tuple[int, str]]


def test_transformers(go: Run) -> None:
    """Guesses, features, and an encoder with a fresh head that is fine-tuned."""
    go("--trainer.max_steps=2")
    folder = "run/model_checkpoints/2"
    guesses = pipeline("fill-mask", folder)("the list of [MASK]")
    assert len(guesses) == 5
    features = torch.tensor(pipeline("feature-extraction", folder)("the list of items"))
    tokenizer, encoder = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    encoded = tokenizer(["the list of items", "a key"], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = encoder(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"]).last_hidden_state
    torch.testing.assert_close(features[0], hidden[0], rtol=0, atol=1e-5)
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3, output_loading_info=True)
    assert all(name.startswith(("classifier", "dense")) for name in info["missing_keys"]), "a fresh head, and no more"
    body = dict(encoder.named_parameters())
    assert all(torch.equal(tensor, body[name]) for name, tensor in model.base_model.named_parameters())
    output = model(**{name: encoded[name] for name in ("input_ids", "attention_mask")}, labels=torch.tensor([0, 2]))
    output.loss.backward()
    assert output.logits.shape == (2, 3)
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_datasets(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Token ids of both tools: the texts come back by the tokenizer beside them."""
    texts = Path("corpus.txt").read_text().splitlines()
    assert main(("recipe.toml", "--preprocess", "--output", "ready")) == 0
    assert tokenize(("--tokenizer", "ready/tokenizer", "--dataset", "corpus.txt", "--output", "ids")) == 0
    tokenizer = AutoTokenizer.from_pretrained("ready/tokenizer")
    found = datasets.load_from_disk("ids")
    assert [tokenizer.decode(ids, skip_special_tokens=True) for ids in found["input_ids"]] == texts
    train, held_out = (datasets.load_from_disk(f"ready/dataset/{name}") for name in ("train", "eval"))
    decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in (*held_out["input_ids"], *train["input_ids"])]
    assert decoded == texts
