"""One process with four micro-batches a step, two with two, four with one: the same data, losses and weights, whether
each process has all weights or a part of them."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import WORDS, objectives_recipe, write_workdir
from tests.core.training.many_ranks import Results, free_port, job, launch

from neobert.testing.checkpointer import holds_pickle

HERE = Path(__file__).parent
SHARE = {1: 4, 2: 2, 4: 1}
"""Ranks -> micro-batches of each in a step."""
ADAMW = "--optimizer=adamw"
PLAIN = (
    ADAMW,
    "--trainer.max_steps=4",
    "--trainer.save_steps=2",
    "--trainer.logging_steps=1",
    "--trainer.eval_position_buckets=[8, 16]",
    "--trainer.ema={decay = 0.5}",
    "--trainer.log_train_accuracy=true",
)
PAIRS = (
    ADAMW,
    "--dataset.path=pairs.jsonl",
    "--dataset.text_column=none",
    "--datacollator.name=pairs",
    "--datacollator.pack_sequences=false",
    "--loss={name = 'info_nce', learn_temperature = true, symmetric = true}",
    "--model.dropout_prob=0.0",
    "--trainer.max_steps=3",
    "--trainer.logging_steps=1",
    "--trainer.gradient_accumulation_steps=1",
)
FILES = (
    "--dataset={name = 'files', path = 'part-*.txt', streaming = true, max_seq_length = 32, eval_path = 'corpus.txt'}",
    "--dataset.shard_streams_by=file",
    "--dataset.eval_samples=none",
)
FSDP = "--trainer.strategy=fsdp"
SHARDED = (*PLAIN, FSDP, "--checkpointer=dcp", "--trainer.async_save=true")
"""Each process has a part of the weights, writes it, and goes on training meanwhile."""
MIXED = ("--trainer.max_steps=4", "--trainer.logging_steps=1", "--trainer.per_device_train_batch_size=4")
FROM_TWO = (
    "--model.weights=two/model_checkpoints/4",
    "--tokenizer={name = 'pretrained', path = 'two/model_checkpoints/4'}",
)
CLOSE = 1e-12
"""Weights in float64 that sums in another order have made, after four steps: they are below 1."""


def accumulate(ranks: int) -> str:
    return f"--trainer.gradient_accumulation_steps={SHARE[ranks]}"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Results]:
    """Every run of this file, of each number of processes in one go: starting a process takes longer than its runs."""
    folder = tmp_path_factory.mktemp("ranks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEOBERT_CACHE", str(folder / "cache"))
        write(folder)
        mlm = {"double": True, "unmasked": True}
        resume = "--trainer.resume_from_checkpoint"
        launch(
            folder,
            2,
            [
                job("two", *PLAIN, accumulate(2), **mlm),
                job("pairs2", *PAIRS, "--trainer.per_device_train_batch_size=4", double=True),
                job("files2", *FILES, "--trainer.max_steps=2"),
                job("sharded2", *SHARDED, accumulate(2), **mlm),
                job("sharded2_on", *SHARDED, accumulate(2), f"{resume}=sharded2/checkpoints/2", **mlm),
                job("mixed2", *MIXED, double=True, recipe="mixed.toml"),
                job("mixed_sharded2", *MIXED, FSDP, "--checkpointer=dcp", double=True, recipe="mixed.toml"),
                job("from2", ADAMW, *FROM_TWO, FSDP, "--trainer.max_steps=2"),
                job("told", *PLAIN, accumulate(2), signal={"1": 1}),
                job("broken", *PLAIN, accumulate(2), fail={"1": 2}),
                job("taken", *PLAIN, accumulate(2), folder="two"),
                job("killed", *PLAIN, accumulate(2), kill={"1": 2}),
            ],
            killed=1,
        )
        launch(
            folder,
            1,
            [
                job("one", *PLAIN, accumulate(1), **mlm),
                job("pairs1", *PAIRS, "--trainer.per_device_train_batch_size=8", double=True),
                job("one_of_two", *PLAIN, accumulate(1), f"{resume}=two/checkpoints/2", **mlm),
                job(
                    "one_of_sharded2",
                    *PLAIN,
                    "--checkpointer=dcp",
                    accumulate(1),
                    f"{resume}=sharded2/checkpoints/2",
                    **mlm,
                ),
                job("files1", *FILES, "--trainer.max_steps=3", accumulate(1), f"{resume}=files2/checkpoints/2"),
                job("more", *PLAIN, accumulate(2), f"{resume}=two/checkpoints/2"),
            ],
        )
        launch(
            folder,
            4,
            [
                job("four", *PLAIN, accumulate(4), **mlm),
                job("sharded4", *PLAIN, FSDP, accumulate(4), **mlm),
                job("four_of_two", *PLAIN, accumulate(4), f"{resume}=two/checkpoints/2", **mlm),
            ],
        )
        yield Results(folder)


def write(folder: Path) -> None:
    write_workdir(folder)
    (folder / "mixed.toml").write_text(objectives_recipe("learn_temperature = true"))
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(4, 20))) for _ in range(120)]
    rows = (json.dumps({"query": query, "positive": text}) for query, text in zip(texts[:60], texts[60:], strict=True))
    (folder / "pairs.jsonl").write_text("\n".join(rows) + "\n")
    for number in range(2):
        (folder / f"part-{number}.txt").write_text("\n".join(texts[number * 60 :][:60]) + "\n")


@pytest.mark.parametrize(("name", "ranks"), [("two", 2), ("four", 4), ("sharded2", 2), ("sharded4", 4)])
def test_data_losses_and_weights_are_those_of_one_process(results: Results, name: str, ranks: int) -> None:
    assert [one["status"] for one in results.of(name, ranks)] == [0] * ranks
    seen = results.seen(name, ranks)
    assert seen == results.seen("one", 1)
    assert len(seen) == 4 * 4
    for line, expected in zip(results.lines(name), results.lines("one"), strict=True):
        assert line == pytest.approx(expected, rel=1e-10)
    assert results.apart(name, "one", 4) < CLOSE
    progress, expected = results.progress(name, 4), results.progress("one", 4)
    for key in ("cursor", "tokens_seen", "step"):
        assert progress[key] == expected[key]


def test_each_process_writes_its_part_and_no_pickle(results: Results) -> None:
    folder = results.checkpoint("sharded2", 4)
    sizes = [path.stat().st_size for path in sorted(folder.glob("shard-*.safetensors"))]
    assert len(sizes) == 2
    assert max(sizes) < 1.2 * min(sizes), "about as many bytes as the other"
    assert {path.name for path in folder.iterdir()} == {
        *(f"shard-0000{rank}-model-00001-of-00001.safetensors" for rank in (1, 2)),
        *("state.json", "progress.json", "recipe.toml", "manifest.json", "tokenizer"),
    }
    pickled = [path.name for path in folder.rglob("*") if path.is_file() and holds_pickle(path.read_bytes())]
    assert not pickled


def test_a_run_in_parts_goes_on_bit_for_bit(results: Results) -> None:
    assert [one["status"] for one in results.of("sharded2_on", 2)] == [0, 0]
    one, other = (results.checkpoint(name, 4) for name in ("sharded2", "sharded2_on"))
    for file in ("state.json", *(path.name for path in one.glob("shard-*.safetensors"))):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    assert results.lines("sharded2_on") == [line for line in results.lines("sharded2") if line["step"] > 2]


def test_parts_go_on_as_wholes_on_one_process(results: Results) -> None:
    (found,) = results.of("one_of_sharded2", 1)
    assert found["status"] == 0
    assert "made by 2 processes, and this run has 1" in found["out"]
    assert results.apart("one_of_sharded2", "one", 4) < CLOSE


def test_weights_of_another_run_are_shared_out(results: Results) -> None:
    assert [one["status"] for one in results.of("from2", 2)] == [0, 0]
    last = next(line["eval/loss"] for line in reversed(results.lines("two")) if "eval/loss" in line)
    assert results.lines("from2")[0]["eval/loss"] == pytest.approx(last, abs=1e-5)


def test_objectives_and_whole_matrices_in_parts(results: Results) -> None:
    """Muon needs whole matrices; of several objectives, each step leaves the other's head alone. A temperature has one
    row, so that one process has none of it."""
    assert [one["status"] for one in results.of("mixed_sharded2", 2)] == [0, 0]
    for line, expected in zip(results.lines("mixed_sharded2"), results.lines("mixed2"), strict=True):
        assert line == pytest.approx(expected, rel=1e-9)
    assert results.apart("mixed_sharded2", "mixed2", 4) < CLOSE


def test_the_first_process_alone_speaks(results: Results) -> None:
    first, second = results.of("two", 2)
    assert "step 4/4" in first["out"]
    assert "results:" in first["out"]
    assert second["out"] == ""
    assert second["err"] == ""


@pytest.mark.parametrize(("name", "ranks"), [("one_of_two", 1), ("four_of_two", 4)])
def test_a_checkpoint_goes_on_with_another_number_of_processes(results: Results, name: str, ranks: int) -> None:
    found = results.of(name, ranks)
    assert [one["status"] for one in found] == [0] * ranks
    assert f"made by 2 processes, and this run has {ranks}" in found[0]["out"]
    whole = results.seen("one", 1)
    assert results.seen(name, ranks) == {place: said for place, said in whole.items() if int(place.split()[0]) >= 2}
    assert results.apart(name, "one", 4) < CLOSE


def test_another_number_of_micro_batches_in_all_is_refused(results: Results) -> None:
    (found,) = results.of("more", 1)
    assert found["status"] == 2
    assert "a step had 4 micro-batches on all of them together, and would have 2" in found["err"]
    assert "trainer.gradient_accumulation_steps = 4 keeps it" in found["err"]


def test_examples_of_all_ranks_are_compared(results: Results) -> None:
    """Two processes with four pairs each are one with eight."""
    assert [one["status"] for one in results.of("pairs2", 2)] == [0, 0]
    for line, expected in zip(results.lines("pairs2"), results.lines("pairs1"), strict=True):
        assert line == pytest.approx(expected, rel=1e-9)
    assert results.apart("pairs2", "pairs1", 3) < CLOSE


def test_a_stream_by_file_is_refused_on_another_number_of_processes(results: Results) -> None:
    assert [one["status"] for one in results.of("files2", 2)] == [0, 0]
    assert len(results.progress("files2", 2)["cursor"]["places"]) == 2
    (found,) = results.of("files1", 1)
    assert found["status"] == 2
    assert "by file, 2 files over 2 ranks" in found["err"]


def test_a_signal_to_one_process_stops_all_after_the_same_step(results: Results) -> None:
    first, second = results.of("told", 2)
    assert [first["status"], second["status"]] == [143, 143]
    assert "stopped by a signal at step 2 of 4" in first["out"]
    assert second["out"] == ""
    assert results.progress("told", 2)["step"] == 2


def test_where_one_process_fails_all_end_and_it_says_why(results: Results) -> None:
    first, second = results.of("broken", 2)
    assert (first["status"], first["err"]) == (1, "")
    assert second["status"] == 2
    assert second["err"].startswith(
        "neobert-run: rank 1: this file cannot be read\nthe run got to step 2, which is saved"
    )
    assert results.progress("broken", 2)["step"] == 2


def test_a_folder_that_is_taken_is_refused_once(results: Results) -> None:
    first, second = results.of("taken", 2)
    assert first["status"] == 2
    assert "already holds a run" in first["err"]
    assert (second["status"], second["err"]) == (1, "")


def test_a_process_that_is_killed_is_missed(results: Results) -> None:
    (first,) = results.of("killed", 1)
    assert first["status"] == 2
    assert "another process of this run ended without a word" in first["err"]


def test_accelerate_starts_the_same_recipe(workdir: Path) -> None:
    """As a person would: two processes on CPUs, each with a part of the weights."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    command += [f"--main_process_port={free_port()}", "-m", "neobert.cli", "recipe.toml", FSDP, ADAMW]
    more = {"ACCELERATE_USE_CPU": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [*command, "--trainer.max_steps=2", "--trainer.gradient_accumulation_steps=1"],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("each of 2 processes keeps its share") == 1, "one process tells"
    assert "step 2/2" in done.stdout
    assert (workdir / "run/model_checkpoints/2/model.safetensors").is_file()
