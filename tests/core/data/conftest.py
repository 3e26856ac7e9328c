"""A small tokenizer, small documents, and training data made of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import attrs
import datasets
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neobert.context import BuildContext
from neobert.data.build import build_data, corpus_of, documents_of
from neobert.data.collate import CollatorRecipe
from neobert.data.evaluation import EvaluationData
from neobert.data.sequences import SpecialTokens
from neobert.data.splits import select_splits
from neobert.data.training_data import StepOptions, TrainingData
from neobert.parts import Part
from neobert.recipe.trainer import TrainerOptions
from neobert.served import CollatorKeys, DatasetKeys
from neobert_plugins.collators.options import MaskedLM
from neobert_plugins.collators.role_options import Pairs

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [f"w{number}" for number in range(100)]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def tokenizer():
    vocabulary = {token: number for number, token in enumerate(SPECIAL + WORDS)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
    return PreTrainedTokenizerFast(tokenizer_object=backend, **dict(zip(names, SPECIAL, strict=True)))


def some_pairs(count, seed=0, lengths=(1, 12), negatives=None, **more):
    """Rows ``query`` and ``positive`` of words, no text twice; ``negatives`` (first, last) of each."""
    rng = np.random.default_rng(seed)

    def text(number, role):
        words = [*rng.choice(WORDS[:60], rng.integers(*lengths)), *np.base_repr(number, 20).zfill(3), role]
        return " ".join(word if word.startswith("w") else f"w{60 + int(word, 20)}" for word in words)

    columns = {
        role: [text(number, code) for number in range(count)] for role, code in (("query", "j"), ("positive", "i"))
    }
    if negatives is not None:
        counts = rng.integers(negatives[0], negatives[1] + 1, count)
        columns["negatives"] = [[text(400 * place + row, "h") for place in range(counts[row])] for row in range(count)]
    return datasets.Dataset.from_dict(columns | more)


def rows_of_lengths(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return datasets.Dataset.from_dict({"text": [" ".join(rng.choice(WORDS, length)) for length in lengths]})


@pytest.fixture
def make_rows():
    return rows_of_lengths


@pytest.fixture
def make_data(tokenizer):
    """``make_data(lengths, **keys)`` -> `TrainingData` (or `EvaluationData` with ``evaluation=True``)."""

    def make(lengths, *, rows=None, evaluation=False, **wanted):
        def of(cls, **defaults):
            names = {attribute.name for attribute in attrs.fields(cls)}
            return cls(**defaults | {name: wanted[name] for name in wanted if name in names})

        context = BuildContext(
            seed=7,
            device=torch.device("cpu"),
            run_directory=Path(),
            max_seq_length=16,
            max_steps=1,
            tokenizer=tokenizer,
            vocab_size=128,
        )
        shared = {
            "special": SpecialTokens.of(tokenizer),
            "collator": CollatorRecipe(Part(kind="datacollator", name="mlm", options=MaskedLM()), context),
            "dataset_keys": of(DatasetKeys, max_seq_length=16),
            "collator_keys": of(CollatorKeys, pack_sequences=True, packing_window=32),
        }
        if evaluation:
            known = {name: wanted[name] for name in ("eval_max_batches", "rank", "world_size") if name in wanted}
            return EvaluationData(
                **shared,
                documents=documents_of(rows_of_lengths(lengths), tokenizer),
                per_device_eval_batch_size=4,
                seed=7,
                **known,
            )
        keys, collator_keys = shared["dataset_keys"], shared["collator_keys"]
        corpus = corpus_of(rows if rows is not None else rows_of_lengths(lengths), tokenizer, keys, collator_keys)
        options = of(StepOptions, per_device_train_batch_size=4, seed=7)
        return TrainingData(**shared, corpus=corpus, options=options, pad_token_id=0)

    return make


@pytest.fixture
def make_pairs():
    return some_pairs


@pytest.fixture
def make_examples(tokenizer):
    """``make_examples(rows, collator, held_out=rows, dataset=options, **keys)`` -> (training, evaluation) as a recipe
    with these keys gives them; the collator is `Pairs` unless another is named, and ``dataset`` is built in the place
    of rows."""

    def make(rows, collator=None, *, held_out=None, dataset=None, **wanted):
        def of(cls, **defaults):
            names = {attribute.name for attribute in attrs.fields(cls)}
            return cls(**defaults | {name: wanted[name] for name in wanted if name in names})

        collator = collator or Pairs()
        keys = of(DatasetKeys, max_seq_length=16)
        context = BuildContext(
            seed=7,
            device=torch.device("cpu"),
            rank=wanted.get("rank", 0),
            world_size=wanted.get("world_size", 1),
            run_directory=Path(),
            max_seq_length=16,
            max_steps=1,
            roles=collator.roles,
            tokenizer=tokenizer,
            vocab_size=128,
        )
        trainer = {
            "per_device_train_batch_size": 4,
            "per_device_eval_batch_size": 4,
            "gradient_accumulation_steps": 1,
            "enforce_full_packed_batches": True,
            "eval_max_batches": None,
            "export_attn_backend": None,  # of no matter to data
        }
        recipe = SimpleNamespace(
            dataset=Part(kind="dataset", name="x", options=dataset, served=keys),
            datacollator=Part(
                kind="datacollator", name="y", options=collator, served=of(CollatorKeys, packing_window=32)
            ),
            trainer=TrainerOptions(**trainer | {name: wanted[name] for name in wanted if name in trainer}),
        )
        built = {"train": rows} | ({} if held_out is None else {"eval": held_out})
        if dataset is not None:
            built = dataset.build(context)
        splits = select_splits(built, keys, 7, collator.roles)
        return build_data(recipe, splits.as_mapping(), tokenizer, recipe.datacollator, context)

    return make
