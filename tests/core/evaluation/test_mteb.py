"""The adapter, run by MTEB itself on a task whose data are here."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from neobert.errors import UserError
from neobert.evaluation.mteb_task import MtebEncoder, MtebTask, mteb_task


class Letters:
    """Embeds a text by how often it has each letter."""

    similarity = "cosine"
    description = "letters"

    def __init__(self) -> None:
        self.kinds: set[str] = set()

    def embed(self, texts: Sequence[str], kind: str) -> torch.Tensor:
        self.kinds.add(kind)
        return torch.tensor([[text.count(letter) + 0.01 for letter in "abcdefghij"] for text in texts])


def local_task():
    """An STS task of MTEB's own class with four pairs."""
    pytest.importorskip("mteb")
    from datasets import Dataset
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    class Local(AbsTaskSTS):
        metadata = TaskMetadata(
            name="LocalSTS",
            description="four pairs",
            dataset={"path": "local/none", "revision": "none"},
            type="STS",
            category="t2t",
            modalities=["text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
            reference=None,
            date=None,
            domains=None,
            task_subtypes=None,
            license=None,
            annotations_creators=None,
            dialect=None,
            sample_creation=None,
            bibtex_citation=None,
        )

        def load_data(self, **kwargs: object) -> None:
            self.dataset = {
                "test": Dataset.from_dict(
                    {
                        "sentence1": ["aab", "abc", "aaa", "abcd"],
                        "sentence2": ["aab", "abd", "fgh", "cdef"],
                        "score": [5.0, 3.0, 0.0, 2.0],
                    }
                )
            }
            self.data_loaded = True

    return Local()


def test_mteb_runs_a_task_on_it() -> None:
    task = MtebTask(local_task())
    model = Letters()
    assert task.of_model(model) == {"cosine_spearman": pytest.approx(1.0)}
    assert model.kinds == {"text"}
    assert "STS" in task.size
    assert task.of_words() == {}


def test_it_has_the_signature_that_mteb_asks_for() -> None:
    protocols = pytest.importorskip("mteb.models.models_protocols")
    assert isinstance(MtebEncoder(Letters(), None), protocols.EncoderProtocol)


def test_queries_and_documents_are_told_apart() -> None:
    """As MTEB calls an encoder, whether it is installed or not."""
    model = Letters()
    encoder = MtebEncoder(model, None)
    batches = [{"text": ["aa", "b"]}, {"text": ["c"]}]
    known = {"task_metadata": None, "hf_split": "test", "hf_subset": "default", "batch_size": 2}
    found = encoder.encode(batches, prompt_type="query", **known)
    assert found.shape == (3, 10)
    encoder.encode(batches, prompt_type="document", **known)
    assert model.kinds == {"query", "document"}
    torch.testing.assert_close(encoder.similarity(found, found).diagonal(), torch.ones(3))
    torch.testing.assert_close(encoder.similarity_pairwise(found, found), torch.ones(3))


def test_unknown_tasks_are_told_the_nearest() -> None:
    pytest.importorskip("mteb")
    with pytest.raises(UserError, match="Did you mean: 'STSBenchmark'"):
        mteb_task("STSBenchmrk")


def test_a_task_that_fails_is_a_users_error() -> None:
    task = local_task()
    task.load_data = lambda **kwargs: (_ for _ in ()).throw(ConnectionError("no network"))
    with pytest.raises(UserError, match=r"LocalSTS failed\nConnectionError: no network"):
        MtebTask(task).of_model(Letters())


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mteb" else real(name))
    with pytest.raises(UserError, match=r"pip install 'neobert\[mteb\]'"):
        mteb_task("STSBenchmark")
