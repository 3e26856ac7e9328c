"""What docs/comparison.md says of other libraries is true of those that are installed."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import version
from pathlib import Path

import transformers
from sentence_transformers import CrossEncoder, SentenceTransformerTrainer, losses
from sentence_transformers.sentence_transformer import evaluation
from sentence_transformers.training_args import BatchSamplers
from transformers import DataCollatorForLanguageModeling, DataCollatorWithFlattening, Trainer, TrainingArguments

from neobert.registry import default_registry
from neobert.testing import make_tokenizer

PAGE = (Path(__file__).parent.parent / "docs" / "comparison.md").read_text(encoding="utf-8")
EXAMPLES = [{"input_ids": [2, 10, 11, 3]}, {"input_ids": [2, 12, 3]}]


def test_the_versions_are_those_that_are_installed():
    for name in ("transformers", "sentence-transformers"):
        (said,) = re.findall(rf"(?<!-){name} (\d+\.\d+)", PAGE)
        assert version(name).startswith(f"{said}."), f"look at {name} {version(name)} and say so"


def test_masked_tokens_are_padded_and_flattened_ones_not_masked():
    padded = DataCollatorForLanguageModeling(make_tokenizer())(EXAMPLES)
    assert padded["input_ids"].shape == (2, 4)
    flat = DataCollatorWithFlattening()(EXAMPLES)
    assert flat["input_ids"].tolist() == [[2, 10, 11, 3, 2, 12, 3]]
    assert set(flat["labels"].flatten().tolist()) <= {-100, *range(13)}


def test_the_trainer_skips_batches_and_pickles_its_optimizer():
    source = inspect.getsource(transformers.trainer)
    assert "skip_first_batches(train_dataloader" in source
    assert transformers.trainer.OPTIMIZER_NAME == "optimizer.pt"
    assert "torch.save(self.optimizer.state_dict()" in source
    assert "torch.save(self.lr_scheduler.state_dict()" in source
    assert "torch.save(rng_states" in source
    assert "num_items_in_batch" in source
    (strategy,) = [it for it in TrainingArguments.__dataclass_fields__ if it == "train_sampling_strategy"]
    assert "group_by_length" in TrainingArguments.__dataclass_fields__[strategy].metadata["choices"]


def test_sentence_transformers_is_built_on_it_and_has_more_losses():
    assert issubclass(SentenceTransformerTrainer, Trainer)
    assert inspect.isclass(CrossEncoder)
    classes = {name for name, it in vars(losses).items() if inspect.isclass(it) and name.endswith("Loss")}
    assert len(classes) > 2 * len([name for name in default_registry().names("loss") if name != "masked_lm"])
    assert {"CachedMultipleNegativesRankingLoss", "MultipleNegativesRankingLoss"} <= classes
    assert len([name for name in vars(evaluation) if name.endswith("Evaluator")]) > 10
    assert BatchSamplers.NO_DUPLICATES.value == "no_duplicates"


def test_modernbert_opens_with_transformers():
    assert inspect.isclass(transformers.ModernBertForMaskedLM)


def test_what_is_said_of_this_tool():
    names = {kind: default_registry().names(kind) for kind in ("model", "optimizer", "scheduler")}
    own = {plugin.name for plugin in default_registry().plugins if plugin.distribution == "neobert"}
    assert [name for name in names["model"] if name in own] == ["neobert"]
    assert "stable_adamw" in names["optimizer"]
    assert "wsd" in names["scheduler"]
