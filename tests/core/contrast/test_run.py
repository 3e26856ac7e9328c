"""Whole runs of losses that make embeddings, with a collator of a stranger's that halves documents."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from safetensors.torch import load_file

from neobert.cli import main
from neobert.recipe import load_recipe
from neobert.registry import default_registry

MODULE = """
from zlib import crc32

@frozen(kw_only=True)
class Halves:
    '''The two halves of a document are a pair.'''

    batch_fields: ClassVar[tuple[str, ...]] = ("query", "positive", "text_key")

    def build(self, context):
        import numpy as np
        import torch

        from neobert import Batch, SequenceLayout

        def collate(examples, rng):
            ids = [np.asarray(example["input_ids"], dtype=np.int64) for example in examples]
            halves = [[one[: len(one) // 2] for one in ids], [one[len(one) // 2 :] for one in ids]]
            sequences = [*halves[0], *halves[1]]
            fields = {
                "query": torch.arange(len(ids)),
                "positive": torch.arange(len(ids), 2 * len(ids)),
                "text_key": torch.tensor([crc32(one.tobytes()) for one in sequences]),
            }
            layout = SequenceLayout.from_lengths(map(len, sequences))
            return Batch(torch.from_numpy(np.concatenate(sequences)), layout, fields)

        return collate


@frozen(kw_only=True)
class Quiet(Halves):
    '''The same, and says nothing of its fields.'''

    batch_fields: ClassVar[None] = None


@hookimpl
def neobert_datacollators():
    return {"halves": Halves, "quiet_halves": Quiet}
"""
PLAIN = ("--datacollator.name=halves", "--optimizer=adamw")
UNPACKED = "--datacollator.pack_sequences=false"
LOSSES = {
    "chunks": ["--loss.name=info_nce", "--loss.chunk_tokens=40", "--loss.learn_temperature=true"],
    "simcse, projected": [UNPACKED, "--loss.name=simcse", "--loss.projection_size=8", "--loss.pooling=cls"],
    "sizes": ["--loss", '{name = "matryoshka", dims = [32, 8], loss = {name = "info_nce", symmetric = true}}'],
}


@pytest.fixture
def halves(install, go):
    """``halves("--loss.name=info_nce", ...)`` trains."""
    install("halves", {"halves": "halves_plugin"}, {"halves_plugin": MODULE})
    default_registry.cache_clear()
    yield lambda *overrides: go(*PLAIN, *overrides)
    default_registry.cache_clear()


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_a_run_goes_on_bit_for_bit(halves, loss):
    status, said = halves(*loss, "--trainer.save_steps=3")
    assert status == 0
    assert "negatives" in said
    status, _ = halves(*loss, "--trainer.output_dir=resumed", "--trainer.resume_from_checkpoint=run/checkpoints/3")
    assert status == 0
    files = [Path(folder, "checkpoints/6/state.safetensors").read_bytes() for folder in ("run", "resumed")]
    assert files[0] == files[1]


def test_what_is_learned_is_in_checkpoint_and_log(halves):
    halves(*LOSSES["chunks"], UNPACKED)
    state = load_file("run/checkpoints/6/state.safetensors")
    assert "loss.temperature.log_scale" in state
    lines = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    logged = [line for line in lines if "train/negatives" in line]
    assert all(0 < line["train/negatives"] <= 3 for line in logged)
    assert all(0.04 < line["train/temperature"] < 0.06 for line in logged)
    assert len({line["train/temperature"] for line in logged}) == len(logged)
    assert "eval/accuracy" in lines[-1]


def test_chunks_train_as_the_whole_does_without_dropout(halves):
    weights = []
    for number, chunks in enumerate(([], ["--loss.chunk_tokens=32"])):
        folder = f"--trainer.output_dir=run{number}"
        halves("--loss.name=info_nce", "--model.dropout_prob=0.0", *chunks, folder, "--trainer.max_steps=3")
        weights.append(load_file(f"run{number}/checkpoints/3/state.safetensors"))
    moved = [name for name in weights[0] if name.startswith("encoder")]
    assert all((weights[0][name] - weights[1][name]).abs().max() < 1e-4 for name in moved)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_packed_steps_are_compiled_once(halves, pooling, caplog):
    from torch import _dynamo

    _dynamo.reset()
    compiled = ("--trainer.torch_compile=true", "--trainer.torch_compile_backend=eager", "--model.dropout_prob=0.0")
    with caplog.at_level(logging.WARNING, "neobert"):
        status, _ = halves("--loss.name=info_nce", f"--loss.pooling={pooling}", *compiled)
    assert status == 0
    assert not [message for message in caplog.messages if "compiled" in message]


def test_fields_that_are_missing_are_told_without_a_traceback(halves, capfd):
    loss = ("--loss.name=supcon", "--datacollator.name=quiet_halves")
    load_recipe("recipe.toml", loss)
    assert main(["recipe.toml", *loss, "--optimizer=adamw"]) == 2
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert "the loss needs text and label in every batch, and this one has no text nor label" in said
    assert "it has positive, query and text_key" in said
    assert not Path("run/checkpoints").exists()
