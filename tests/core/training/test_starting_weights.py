"""Starting from a run, a checkpoint, an export or published weights: what is taken is said, misfits are refused."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neobert.cli import main
from neobert.errors import UserError

Run = Callable[..., tuple[int, str]]
Refused = Callable[..., str]
FROM_RUN = ("--model.weights=run", "--tokenizer=pretrained", "--tokenizer.path=run")
SECOND = ("--trainer.max_steps=2", "--trainer.output_dir=second")


@pytest.fixture
def first(go: Run) -> Run:
    """A run of four steps, saved at the second and the last."""
    status, _ = go("--trainer.max_steps=4", "--trainer.save_steps=2")
    assert status == 0
    return go


@pytest.fixture
def refused(first: Run, workdir: Path, capfd: pytest.CaptureFixture[str]) -> Refused:
    """What a recipe on the first run is refused with: by ``--check``, and by a run before it touches its data."""

    def answer(*overrides: str) -> str:
        said = []
        for more in (("--check",), ("--dataset.path=gone.txt",)):
            capfd.readouterr()
            assert main(("recipe.toml", *SECOND, *overrides, *more)) == 2
            said.append(capfd.readouterr().err)
        assert said[0] == said[1], "the data was looked at first"
        assert "Traceback" not in said[0]
        assert not Path("second/checkpoints").exists()
        return said[0]

    return answer


def evaluated(run: str) -> list[float]:
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [line["eval/loss"] for line in lines if "eval/loss" in line]


@pytest.mark.parametrize("path", ["run", "run/checkpoints/4", "run/model_checkpoints/4"])
def test_a_run_and_each_of_its_folders_is_a_start(first: Run, path: str) -> None:
    status, said = first(*SECOND, f"--model.weights={path}", "--tokenizer=pretrained", f"--tokenizer.path={path}")
    assert status == 0
    assert ("step 4 is the newest of run run; " in said) == (path == "run")
    assert f"tensors from {'run/model_checkpoints/4' if path == 'run' else path}" in said
    assert evaluated("second")[0] == pytest.approx(evaluated("run")[-1], abs=1e-6)


def test_what_is_damaged_is_passed_over_and_said(first: Run) -> None:
    for kind in ("checkpoints", "model_checkpoints"):
        Path(f"run/{kind}/4/recipe.toml").write_text("cut")
    _, said = first(*SECOND, *FROM_RUN)
    assert "step 2 is the newest of run run; run/model_checkpoints/4 is damaged and is passed over: recipe.toml" in said


def test_a_named_step_that_is_damaged_is_refused(refused: Refused) -> None:
    Path("run/checkpoints/4/recipe.toml").write_text("cut")
    assert "run/checkpoints/4 is damaged: recipe.toml" in refused("--model.weights=run/checkpoints/4")


def test_a_run_without_a_checkpoint(refused: Refused) -> None:
    shutil.rmtree("run/checkpoints")
    shutil.rmtree("run/model_checkpoints")
    said = refused("--model.weights=run")
    assert "run is a run that has saved nothing yet" in said
    assert "recipe.toml is the recipe of that run; run it first: neobert-run recipe.toml" in said


def test_a_missing_folder_is_told_the_nearest(refused: Refused) -> None:
    assert "there are no weights at rum: no such file or folder; did you mean run?" in refused("--model.weights=rum")
    said = refused("--model.weights=run/checkpoints/5")
    assert "run/checkpoints/5: no such file or folder; in run/checkpoints there is 2, 4" in said
    said = refused("--model.weights=run/model_checkpoint/4")
    assert "did you mean run/model_checkpoints/4?" in said
    assert "corpus.txt is a file" in refused("--model.weights=corpus.txt/step")


def test_a_folder_around_what_is_meant(refused: Refused) -> None:
    assert "name the run, run, or one of its steps here: 2, 4" in refused("--model.weights=run/checkpoints")
    assert "there are runs in it: run" in refused("--model.weights=.")


def test_the_recipe_that_makes_a_missing_run_is_named(workdir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("longer.toml").write_text('extends = "recipe.toml"\n[model]\nweights = "run"\n[trainer]\noutput_dir = "two"\n')
    Path("broken.toml").write_text("[trainer")
    for more in ((), ("--check",)):
        assert main(("longer.toml", *more)) == 2
        said = capfd.readouterr().err
        assert "there are no weights at run: no such file or folder" in said
        assert "recipe.toml is the recipe of that run; run it first: neobert-run recipe.toml" in said


def test_another_shape(refused: Refused) -> None:
    said = refused(*FROM_RUN, "--model.hidden_size=64", "--model.num_hidden_layers=3")
    assert "the weights do not fit this recipe's [model]:" in said
    assert "hidden_size = 32 there, 64 in this recipe" in said
    assert "num_hidden_layers = 2 there, 3 in this recipe" in said
    assert "vocabulary" not in said, "which the early look does not know"


def test_a_shorter_context(refused: Refused) -> None:
    said = refused(*FROM_RUN, "--model.max_position_embeddings=32")
    assert "max_position_embeddings = 64 there, 32 in this recipe: raise it, or the context that the weights" in said


def test_learned_positions_grow(go: Run) -> None:
    """Looked at without values first, and then filled."""
    learned = ("--trainer.max_steps=2", "--model.rope=false")
    assert go(*learned)[0] == 0
    status, said = go(*learned, *FROM_RUN, "--trainer.output_dir=second", "--model.max_position_embeddings=100")
    assert status == 0
    assert "64 learned positions there, 100 here: the others are copies of them, from the first on" in said
    table = load_file("second/model_checkpoints/2/model.safetensors")["model.positional_embedding.weight"]
    assert table.shape == (101, 32)


def test_another_architecture(refused: Refused) -> None:
    said = refused(*FROM_RUN, "--model.rope=false")
    assert "the weights do not fit this recipe's [model]:\n  rope = true there, false in this recipe" in said
    Path("bert").mkdir()
    names = [f"bert.encoder.layer.{layer}.output.dense.weight" for layer in range(20)]
    save_file({name: torch.zeros(32, 32) for name in names}, "bert/model.safetensors")
    Path("bert/config.json").write_text('{"model_type": "bert"}')
    said = refused("--model.weights=bert")
    assert "no tensor of theirs has a name and a shape that this model knows ('bert' by its configuration)" in said
    assert "left over in the file: 12 tensors more" in said
    assert len(said.splitlines()) < 25


def test_pickles_and_broken_files(refused: Refused) -> None:
    Path("old").mkdir()
    torch.save({}, "old/pytorch_model.bin")
    said = refused("--model.weights=old")
    assert "old/pytorch_model.bin is a pickle" in said
    assert "save_file" in said
    Path("old/model.safetensors").write_bytes(b"half a file")
    assert "old/model.safetensors cannot be read as safetensors" in refused("--model.weights=old")


def other_words(file: str) -> None:
    rng = random.Random(1)
    words = ["".join(rng.choices("bcdfgklmnprstz", k=rng.randint(1, 6))) for _ in range(300)]
    Path(file).write_text("\n".join(" ".join(rng.choices(words, k=20)) for _ in range(100)), encoding="utf-8")


def test_another_vocabulary_of_the_same_size(refused: Refused) -> None:
    """Every shape fits, and each row of the embedding would mean another word."""
    shutil.copytree("run/checkpoints/4/tokenizer", "swapped")
    said = json.loads(Path("swapped/tokenizer.json").read_text())
    vocabulary = said["model"]["vocab"]
    vocabulary["the"], vocabulary["list"] = vocabulary["list"], vocabulary["the"]
    Path("swapped/tokenizer.json").write_text(json.dumps(said))
    said = refused("--model.weights=run", "--tokenizer=pretrained", "--tokenizer.path=swapped")
    assert "were trained with another vocabulary than this run's tokenizer has" in said
    assert "2 have another id here, or none" in said
    assert "'the' is" in said
    assert '[tokenizer] name = "pretrained", path = "run/model_checkpoints/4"' in said


def test_a_tokenizer_trained_anew_is_compared_once_it_is_there(first: Run) -> None:
    status, _ = first(*SECOND, "--model.weights=run")
    assert status == 0, "the same text gives the same tokenizer"
    other_words("other.txt")
    with pytest.raises(UserError, match="were trained with another vocabulary"):
        first("--trainer.output_dir=third", "--model.weights=run", "--dataset.path=other.txt")
    assert not Path("third/checkpoints").exists()


def test_tokens_beside_theirs_and_another_way_to_split_are_said(first: Run) -> None:
    shutil.copytree("run/checkpoints/4/tokenizer", "more")
    said = json.loads(Path("more/tokenizer.json").read_text())
    said["model"]["vocab"]["zz"] = len(said["model"]["vocab"])
    said["normalizer"]["lowercase"] = False
    Path("more/tokenizer.json").write_text(json.dumps(said))
    _, printed = first(*SECOND, "--model.weights=run", "--tokenizer=pretrained", "--tokenizer.path=more")
    assert "the run's tokenizer has 1 token more than the weights': 'zz'" in printed
    assert "splits text otherwise than the weights' (its normalizer)" in printed


def test_weights_with_no_tokenizer_beside_them(first: Run) -> None:
    Path("bare").mkdir()
    shutil.copy("run/model_checkpoints/4/model.safetensors", "bare")
    shutil.copy("run/model_checkpoints/4/config.json", "bare")
    _, said = first(*SECOND, "--model.weights=bare")
    assert "no tokenizer lies beside these weights, so that only the size of the vocabulary is compared" in said
    other_words("other.txt")
    with pytest.raises(UserError, match=r"rows in the file, .* take the tokenizer that belongs to the weights"):
        first("--trainer.output_dir=third", "--model.weights=bare", "--dataset.path=other.txt")


def test_published_weights_in_shards(first: Run) -> None:
    """As a hub repository has them: NeoBERT's layout, a configuration, an index."""
    first("--trainer.max_steps=2", "--model.decoder_bias=true", "--trainer.output_dir=published")
    export, folder = Path("published/model_checkpoints/2"), Path("shards")
    folder.mkdir()
    tensors = load_file(export / "model.safetensors")
    names = {name: f"model-0000{number % 3}-of-00003.safetensors" for number, name in enumerate(tensors)}
    for shard in set(names.values()):
        save_file({name: tensors[name] for name in names if names[name] == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    shutil.copy(export / "config.json", folder)
    shutil.copy(export / "tokenizer.json", folder)
    _, said = first(*SECOND, "--model.decoder_bias=true", "--model.weights=shards")
    assert f"{len(tensors) - 1} tensors from shards; NeoBERT layout" in said
    assert evaluated("second")[0] == pytest.approx(evaluated("published")[-1], abs=1e-6)


def test_weights_only_and_no_state_of_the_optimizer(first: Run) -> None:
    _, said = first(*SECOND, *FROM_RUN, "--optimizer=adamw", "--scheduler.warmup_steps=0")
    assert "step 2/2" in said
    lines = [json.loads(line) for line in Path("second/metrics.jsonl").read_text().splitlines()]
    assert lines[0]["step"] == 0
    assert lines[-1]["step"] == 2


def test_a_sequence_longer_than_the_positions(refused: Refused) -> None:
    said = refused(*FROM_RUN, "--dataset.max_seq_length=128")
    assert "dataset.max_seq_length = 128 is over model.max_position_embeddings = 64" in said
