"""Whatever a person gets wrong: one clear answer, exit status 2, no traceback, and nothing written over."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from neobert.cli import main

Files = Callable[[], None]
Answer = Callable[..., str]


@pytest.fixture
def answer(workdir: Path, capfd: pytest.CaptureFixture[str]) -> Answer:
    """``answer("recipe.toml", ...)``: what a command that has to be refused says on stderr."""

    def refused(*tokens: str) -> str:
        capfd.readouterr()
        assert main(tokens) == 2
        said = capfd.readouterr().err
        assert said.strip()
        assert "Failed to" not in said, "a library says beside us what we say"
        assert "Traceback" not in said
        assert not list(workdir.rglob("checkpoints")), "a refused run has trained"
        return said

    return refused


def write(**files: str | bytes) -> Files:
    """Writes files of the working directory; ``__`` in a name is a dot."""

    def prepare() -> None:
        for name, content in files.items():
            path = Path(name.replace("__", "."))
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def nothing() -> None:
    pass


RECIPES = {
    "a recipe that is not there": ("recip.toml", nothing, ("there is no such recipe", "did you mean recipe.toml?")),
    "no such folder": ("gone/recipe.toml", nothing, ("no folder gone",)),
    "a folder": (".", nothing, ("is a folder; a recipe is a TOML file",)),
    "not TOML": ("r.toml", write(r__toml="[model\n"), ("r.toml:1", "not valid TOML")),
    "not UTF-8": ("r.toml", write(r__toml=b"# caf\xe9\n"), ("r.toml", "is not UTF-8 text (byte 5)")),
    "empty": ("r.toml", write(r__toml=""), ("dataset.name", "missing: no dataset is named", "files")),
    "extends nothing": ("r.toml", write(r__toml='extends = "gone.toml"\n'), ("r.toml:1: extends", "gone.toml")),
    "extends itself": ("r.toml", write(r__toml='extends = "r.toml"\n'), ("extend each other in a circle",)),
}


@pytest.mark.parametrize("case", RECIPES)
@pytest.mark.parametrize("check", [(), ("--check",)])
def test_recipes_that_cannot_be_read(answer: Answer, case: str, check: tuple[str, ...]) -> None:
    path, prepare, fragments = RECIPES[case]
    prepare()
    said = answer(path, *check)
    assert [fragment for fragment in fragments if fragment not in said] == []


def test_all_mistakes_come_in_one_answer_in_the_order_of_the_file(answer: Answer) -> None:
    faulty = """extends = "recipe.toml"
tracker = ["jsonl"]
[model]
hidden_sise = 32
num_attention_heads = "2"
attn_backend = "spda"
[tokenizer]
vocab_size = 3.7
[datacollator]
pack_sequences = "false"
[optimizer]
lr = "1e-4"
[trainer]
seed = -1
mixed_precision = "fp16"
masked_logits_only_loss = true
"""
    write(faulty__toml=faulty)()
    said = answer("faulty.toml", "--trainer.max_step", "3", "--loss", "none")
    expected = (
        'faulty.toml:2: tracker = ["jsonl"]\n  unknown key; did you mean "trackers"?',
        'faulty.toml:4: model.hidden_sise = 32\n  unknown key; did you mean "hidden_size"?',
        'faulty.toml:5: model.num_attention_heads = "2"\n  expected an int >= 1',
        'faulty.toml:6: model.attn_backend = "spda"\n  unknown attn_backend; did you mean "sdpa"?\n  available: ',
        "faulty.toml:8: tokenizer.vocab_size = 3.7\n  expected an int >= 6",
        'faulty.toml:10: datacollator.pack_sequences = "false"\n  expected true or false',
        'faulty.toml:12: optimizer.lr = "1e-4"\n  expected a float',
        "faulty.toml:14: trainer.seed = -1\n  expected an int >= 0",
        'faulty.toml:15: trainer.mixed_precision = "fp16"\n  expected one of',
        "faulty.toml:16: trainer.masked_logits_only_loss = true\n  not a key here",
        'command line: loss = "none"\n  a part cannot be unset',
        'command line: trainer.max_step = 3\n  unknown key; did you mean "max_steps"?',
    )
    places = [said.find(problem) for problem in expected]
    assert -1 not in places, f"not said: {expected[places.index(-1)]}\nsaid:\n{said}"
    assert places == sorted(places)
    assert said.count("faulty.toml:") + said.count("command line:") == len(expected)


ROWS = "".join(json.dumps({"title": f"t{n}", "body": "some words of text " * 4}) + "\n" for n in range(30))

OVERRIDES = {
    "a flag's name": (("--max_steps=3",), nothing, ("unknown flag --max_steps; did you mean --trainer.max_steps?",)),
    "no value": (("--trainer.max_steps",), nothing, ("expected a value after it",)),
    "twice": (("--trainer.seed=1", "--trainer.seed=2"), nothing, ("given twice with different values",)),
    "too long": (("--dataset.max_seq_length=65",), nothing, ("over model.max_position_embeddings = 64",)),
    "heads": (("--model.num_attention_heads=3",), nothing, ("hidden_size = 32 is no multiple of", "= 3")),
    "contradiction": (("--dataset.validation_split=0.1",), nothing, ("contradicts dataset.eval_samples",)),
    "warm-up": (("--trainer.max_steps=1",), nothing, ("longer than the run",)),
    "output_dir is a file": (("--trainer.output_dir=corpus.txt",), nothing, ("corpus.txt is a file",)),
    "output_dir in a file": (("--trainer.output_dir=corpus.txt/run",), nothing, ("corpus.txt is a file",)),
    "output_dir is empty": (("--trainer.output_dir=",), nothing, ("trainer.output_dir", "a length of at least 1")),
    "no file": (("--dataset.path=gone.txt",), nothing, ("dataset.path", "gone.txt", "matches no file")),
    "an empty file": (("--dataset.path=e.txt",), write(e__txt=""), ("e.txt: the file is empty",)),
    "blank lines": (("--dataset.path=b.txt",), write(b__txt="\n" * 30), ("no text", "every document in it is empty")),
    "one document": (("--dataset.path=o.txt",), write(o__txt="words\n"), ("leaves nothing to train on",)),
    "two columns": (("--dataset.path=r.jsonl",), write(r__jsonl=ROWS), ("several text columns: title, body",)),
    "another column": (
        ("--dataset.path=r.jsonl", "--dataset.text_column=bdy"),
        write(r__jsonl=ROWS),
        ("no such column; did you mean 'body'?",),
    ),
    "no text": (("--dataset.path=n.jsonl",), write(n__jsonl='{"n": 1}\n' * 20), ("has no text column", "n (int64)")),
    "damaged rows": (
        ("--dataset.path=d.jsonl", "--dataset.on_damaged_row=stop"),
        write(d__jsonl='{"t": "a"}\n{"t"\n' + '{"t": "b"}\n' * 30),
        ("neobert-run: d.jsonl: row 2 is not JSON", "of split 'train'", 'dataset.on_damaged_row = "skip"'),
    ),
    "no tokenizer": (("--tokenizer=pretrained", "--tokenizer.path=x/y/z"), nothing, ("no such folder",)),
    "no weights": (("--model.weights=gone",), nothing, ("there are no weights at gone",)),
    "a pickle": (("--model.weights=w.bin",), write(w__bin="x"), ("is a pickle", "convert it once")),
    "no safetensors": (
        ("--model.weights=w.safetensors",),
        write(w__safetensors="x"),
        ("cannot be read as safetensors",),
    ),
    "nothing to resume": (("--trainer.resume_from_checkpoint=3",), nothing, ("no folder run/checkpoints/3",)),
    "not here": (("--loss=masked_ml",), nothing, ('unknown loss; did you mean "masked_lm"?',)),
}


@pytest.mark.parametrize("case", OVERRIDES)
def test_what_a_run_refuses(answer: Answer, case: str) -> None:
    overrides, prepare, fragments = OVERRIDES[case]
    prepare()
    said = answer("recipe.toml", *overrides)
    assert [fragment for fragment in fragments if fragment not in said] == [], said


@pytest.mark.parametrize("ids", [[7000, 8, 9], [-1, 8, 9]])
def test_a_tokenizer_that_did_not_make_the_data(answer: Answer, ids: list[int]) -> None:
    from datasets import Dataset
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    Dataset.from_dict({"input_ids": [ids] * 20}).save_to_disk("rows")
    names = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    backend = Tokenizer(WordLevel({name: n for n, name in enumerate((*names, "word"))}, unk_token="[UNK]"))
    keys = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(keys, names, strict=True))).save_pretrained("words")
    tokens = ("--dataset", '{name = "disk", path = "rows"}', "--tokenizer", '{name = "pretrained", path = "words"}')
    said = answer("recipe.toml", *tokens)
    assert f"has the id {ids[0]}" in said
    assert "another tokenizer made this data" in said


def test_an_empty_dataset_on_disk(answer: Answer) -> None:
    from datasets import Dataset

    Dataset.from_dict({"text": []}).save_to_disk("rows")
    assert "dataset.path = 'rows' is empty" in answer("recipe.toml", "--dataset", '{name = "disk", path = "rows"}')


def test_weights_that_are_not_there_are_missed_before_any_work(answer: Answer, workdir: Path) -> None:
    assert "there are no weights at gone" in answer("recipe.toml", "--check", "--model.weights=gone")
    answer("recipe.toml", "--dataset.path=gone.txt", "--model.weights=gone")  # else the data would be missed first


def test_exports_that_cannot_be(answer: Answer) -> None:
    assert "there is no checkpoint folder gone" in answer("--export", "gone", "folder")
    Path("some").mkdir()
    assert "some is no intact checkpoint: no manifest.json" in answer("--export", "some", "folder")
    assert "corpus.txt is a file" in answer("--export", "some", "corpus.txt/folder")
    assert "exists already" in answer("--export", "some", ".")
    Path("some/manifest.json").write_text("{}")
    assert "some is no checkpoint of a run" in answer("--export", "some", "folder")


def test_a_folder_that_holds_another_run(answer: Answer) -> None:
    metrics = Path("run/metrics.jsonl")
    metrics.parent.mkdir()
    metrics.write_text("theirs\n")
    said = answer("recipe.toml", "--trainer.seed=5")
    assert "run already holds a run" in said
    assert "neobert-run recipe.toml --trainer.seed 5 --trainer.resume_from_checkpoint latest" in said
    assert metrics.read_text() == "theirs\n"
