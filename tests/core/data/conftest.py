"""A small tokenizer, small documents, and training data made of them."""

from __future__ import annotations

from pathlib import Path

import attrs
import datasets
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from neobert.context import BuildContext
from neobert.data.build import corpus_of, documents_of
from neobert.data.collate import CollatorRecipe
from neobert.data.evaluation import EvaluationData
from neobert.data.sequences import SpecialTokens
from neobert.data.training_data import StepOptions, TrainingData
from neobert.parts import Part
from neobert.served import CollatorKeys, DatasetKeys
from neobert_plugins.collators.options import MaskedLM

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
