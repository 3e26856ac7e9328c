"""Pseudo-perplexity and fill-mask, beside transformers' own on the export."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.core.evaluation.conftest import Train
from transformers import AutoModelForMaskedLM, AutoTokenizer, pipeline

from neobert.cli import main
from neobert.errors import UserError
from neobert.evaluation.fill_mask import fill_masks
from neobert.evaluation.masked import MaskedModel, open_masked
from neobert.evaluation.padding import padded_groups
from neobert.evaluation.pseudo import sampled, score, windows_of
from neobert.evaluation.pseudo_task import PseudoOptions, PseudoPerplexityTask

CPU = torch.device("cpu")
TEXTS = ("the list of all items", "a key in its map has no value", "none", "the value was set before [MASK] is zzqx")


@pytest.fixture(scope="module")
def run(train: Train) -> Path:
    return train("masked", "--trainer.max_steps=3", "--tokenizer.pad_vocab_to_multiple_of=64")


@pytest.fixture(scope="module")
def model(run: Path) -> MaskedModel:
    return open_masked(run, CPU)


def by_hand(export: Path, text: str) -> list[float]:
    """Each token masked in turn, one after another, with stock transformers."""
    theirs, tokenizer = AutoModelForMaskedLM.from_pretrained(export).eval(), AutoTokenizer.from_pretrained(export)
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    found = []
    for place in range(ids.shape[1]):
        if int(ids[0, place]) not in tokenizer.all_special_ids:
            masked = ids.clone()
            masked[0, place] = tokenizer.mask_token_id
            with torch.no_grad():
                logits = theirs(input_ids=masked).logits[0, place]
            found.append(float(logits.log_softmax(-1)[ids[0, place]]))
    return found


def test_each_token_is_scored_as_transformers_would(run: Path, model: MaskedModel) -> None:
    found = PseudoPerplexityTask(TEXTS).of_model(model)
    expected = [by_hand(run / "model_checkpoints" / "3", text) for text in TEXTS]
    for part, scores in zip(found.parts, expected, strict=True):
        assert part.figures["tokens"] == len(scores)
        assert part.figures["log_likelihood"] == pytest.approx(sum(scores), abs=1e-4)
        assert part.figures["pseudo_perplexity"] == pytest.approx(math.exp(-np.mean(scores)), rel=1e-4)
    together = np.concatenate(expected)
    assert found.figures["loss"] == pytest.approx(-together.mean(), abs=1e-4)
    assert found.figures["pseudo_perplexity"] == pytest.approx(math.exp(-together.mean()), rel=1e-4)
    # [MASK] is a special token, and is not scored.
    assert any("special or unknown token" in note for note in found.notes)


def test_streams_of_any_size_come_to_the_same(model: MaskedModel) -> None:
    windows = windows_of(TEXTS, model.tokenizer, model.max_seq_length)
    whole = score(model, windows.sequences, len(TEXTS))
    assert whole.streams == 1
    for most in (1, 23, 100):
        parts = score(model, windows.sequences, len(TEXTS), most)
        assert parts.streams > 1
        np.testing.assert_allclose(parts.log_likelihood, whole.log_likelihood, atol=1e-4)
    assert score(model, windows.sequences, len(TEXTS), 1).streams == windows.tokens


def test_no_stream_is_larger_than_it_may_be(model: MaskedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    logits = MaskedModel.logits
    monkeypatch.setattr(
        MaskedModel, "logits", lambda own, ids, *rest: (sizes.append(len(ids)), logits(own, ids, *rest))[1]
    )
    windows = windows_of(TEXTS, model.tokenizer, model.max_seq_length)
    score(model, windows.sequences, len(TEXTS), 64)
    assert len(sizes) > 1
    assert max(sizes) <= 64


def test_a_checkpoint_its_export_and_a_stranger_agree(run: Path, model: MaskedModel, tmp_path: Path) -> None:
    export = run / "model_checkpoints" / "3"
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (stranger / name).write_bytes((export / name).read_bytes())
    others = [open_masked(folder, CPU) for folder in (export, stranger)]
    assert "EuroBertForMaskedLM" in others[1].description
    first = PseudoPerplexityTask(TEXTS).of_model(model).figures
    for other in others:
        assert PseudoPerplexityTask(TEXTS).of_model(other).figures == pytest.approx(first, abs=1e-4)


def test_a_long_text_is_scored_in_windows_or_refused(model: MaskedModel) -> None:
    long = " ".join(["the list of all items is returned"] * 20)
    assert model.max_seq_length == 32
    task = PseudoPerplexityTask((long, "none"))
    found = task.of_model(model)
    tokens = len(model.tokenizer(long, add_special_tokens=False)["input_ids"])
    assert found.parts[0].figures["tokens"] == tokens
    assert found.parts[0].figures["windows"] == -(-tokens // 30)
    assert any("1 text longer than the model's 32 tokens" in note for note in found.notes)
    refusing = PseudoPerplexityTask((long,), PseudoOptions(long_texts="refuse"))
    with pytest.raises(UserError, match="1 text longer than the model's 32 tokens, the first is text 1"):
        refusing.of_model(model)


def test_a_sample_is_counted_and_its_tokens_are_some_of_all(model: MaskedModel) -> None:
    windows = windows_of(TEXTS, model.tokenizer, model.max_seq_length)
    chosen = sampled(windows, 5)
    pairs = [(id(one.ids), place) for one in chosen for place in one.places.tolist()]
    everything = {(id(one.ids), place) for one in windows.sequences for place in one.places.tolist()}
    assert len(pairs) == len(set(pairs)) == 5
    assert set(pairs) <= everything
    assert pairs == [(id(one.ids), place) for one in sampled(windows, 5) for place in one.places.tolist()]
    found = PseudoPerplexityTask(TEXTS, PseudoOptions(sample=5)).of_model(model)
    assert found.size.startswith(f"5 of {windows.tokens} tokens scored")
    assert sum(part.figures["tokens"] for part in found.parts) == 5


def test_groups_of_padded_sequences_hold_every_token_once() -> None:
    from neobert.batch import SequenceLayout

    ids = torch.arange(1, 25)
    layout = SequenceLayout.from_lengths([3, 9, 1, 8, 3])
    groups = list(padded_groups(ids, layout, vocabulary=(1 << 26) // 18))
    assert len(groups) > 1
    assert all(group.ids.numel() <= 18 for group in groups)
    torch.testing.assert_close(torch.cat([group.ids[group.mask] for group in groups]), ids)


def test_the_command_and_its_json(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, rows, out = tmp_path / "texts.txt", tmp_path / "texts.jsonl", tmp_path / "found.json"
    lines.write_text("\n".join(TEXTS) + "\n\n")
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    tasks = [f"pseudo_perplexity={file}" for file in (lines, rows)]
    assert main(["--evaluate", str(run), "--tasks", *tasks, "--stream-tokens=64", "--output", str(out)]) == 0
    said = capsys.readouterr().out
    assert "pseudo_perplexity" in said
    assert "text by text" in said
    first, second = json.loads(out.read_text())["tasks"]
    assert first["results"] == second["results"]
    assert [text["text"] for text in first["texts"]] == list(TEXTS)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--tasks", "pseudo_perplexity=nowhere.txt"], "no such file"),
        (["--tasks", "pseudo_perplexity=empty.txt"], "no text is in it"),
        (["--tasks", "pseudo_perplexity=a.csv"], "named .csv is not known"),
        (["--tasks", "pseudo_perplexity=a.txt", "--sample", "none"], "expected a whole number"),
        (["--tasks", "pseudo_perplexity=a.txt", "--long-texts", "cut"], "expected windows or refuse"),
        (["--tasks", "similarity=a.txt", "--sample", "3"], "which is not asked for"),
        (["--tasks", "pseudoperplexity=a.txt"], "did you mean 'pseudo_perplexity'"),
    ],
)
def test_mistakes(
    run: Path,
    words: list[str],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("empty.txt", "\n"), ("a.txt", "some text\n"), ("a.csv", "some text\n")):
        Path(name).write_text(text)
    assert main(["--evaluate", str(run), *words]) == 2
    assert expected in capsys.readouterr().err


def test_guesses_are_those_of_the_pipeline(run: Path, model: MaskedModel) -> None:
    fill = pipeline("fill-mask", str(run / "model_checkpoints" / "3"))
    for text in ("the [MASK] of all items", "a [MASK] in its [MASK] has no value"):
        (ours,) = fill_masks(model, [text], 4)
        theirs = fill(text, top_k=4)
        theirs = theirs if isinstance(theirs[0], list) else [theirs]
        assert len(ours.masks) == text.count("[MASK]")
        for mask, found in zip(ours.masks, theirs, strict=True):
            assert [guess.token_id for guess in mask] == [guess["token"] for guess in found]
            assert [guess.token for guess in mask] == [guess["token_str"] for guess in found]
            assert [guess.probability for guess in mask] == pytest.approx([guess["score"] for guess in found], abs=1e-5)


def test_fill_mask_as_a_person_calls_it(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "guesses.json"
    words = ["--fill-mask", str(run), "the [MASK] of items", "the <mask> of items", "--top", "3", "--output", str(out)]
    assert main(words) == 0
    first, second = json.loads(out.read_text())["texts"]
    assert first["masks"] == second["masks"]
    assert len(first["masks"][0]) == 3
    assert "mask: " in capsys.readouterr().out
    assert main(["--fill-mask", str(run), "no mask here", "none here " * 30]) == 2
    said = capsys.readouterr().err
    assert "'no mask here' has no mask: write [MASK] or <mask>" in said
    assert main(["--fill-mask", str(run), "the [MASK] " + "of items " * 40]) == 2
    assert "tokens, and the model takes 32" in capsys.readouterr().err
    assert main(["--fill-mask", str(run)]) == 2
    assert "--fill-mask needs FOLDER and TEXT" in capsys.readouterr().err


def test_an_encoder_without_a_head_says_so(train: Train, run: Path, tmp_path: Path) -> None:
    folder = run.parent
    (folder / "pairs.jsonl").write_text(
        "".join(json.dumps({"query": f"list {n}", "positive": f"items {n}"}) + "\n" for n in range(40))
    )
    pairs = train(
        "pairs",
        "--dataset.path=pairs.jsonl",
        "--datacollator=pairs",
        "--datacollator.pack_sequences=false",
        "--loss=info_nce",
        "--trainer.max_steps=2",
    )
    for place in (pairs, pairs / "model_checkpoints" / "2"):
        with pytest.raises(UserError, match="an encoder without a head over the vocabulary"):
            open_masked(place, CPU)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (stranger / name).write_bytes((pairs / "model_checkpoints" / "2" / name).read_bytes())
    config = json.loads((stranger / "config.json").read_text())
    (stranger / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(UserError, match=r"without a head.*\n.*make up lm_head.weight"):
        open_masked(stranger, CPU)


def test_a_layout_of_our_own_is_opened_too(train: Train) -> None:
    run = train("normalized", "--model.ngpt=true", "--trainer.max_steps=2")
    places = (run, run / "model_checkpoints" / "2")
    first, second = (PseudoPerplexityTask(TEXTS).of_model(open_masked(place, CPU)).figures for place in places)
    assert first == pytest.approx(second, abs=1e-5)
