"""Processes that work ahead: order, errors, deaths, and what crosses to them."""

from __future__ import annotations

import signal
from itertools import islice

import attrs
import datasets
import numpy as np
import psutil
import pytest

from neobert.data.collate import CollatorRecipe
from neobert.data.documents import TokenStore
from neobert.data.loader import HEAVY, pickles_over
from neobert.data.pretokenized import ArrowDocuments
from neobert.data.workers import in_order
from neobert.errors import UserError
from neobert.parts import Part
from neobert_plugins.collators.options import MaskedLM

KILL = f"__import__('os').kill(__import__('os').getpid(), {signal.SIGKILL:d})"


def evaluated(requests, workers=2, ahead=2):
    """What workers answer to these expressions (their function must be importable, and a test's is not)."""
    return in_order(eval, requests, workers=workers, ahead=ahead)


@pytest.mark.parametrize(("workers", "ahead"), [(1, 1), (3, 2)])
def test_answers_come_in_the_order_of_the_requests(workers, ahead):
    # every fourth is slow, large ones are larger than any pipe
    asked = [
        f"__import__('time').sleep({0.02 * (n % 4 == 0)}) or [{n}] * {1 + 100_000 * (n % 5 == 0)}" for n in range(17)
    ]
    found = list(evaluated(asked, workers, ahead))
    assert [answer[0] for answer in found] == list(range(17))
    assert len(found[10]) == 100_001
    assert list(evaluated(["None"])) == [None]
    assert list(evaluated([])) == []


def test_no_more_is_asked_for_than_ahead():
    asked = []
    answers = evaluated((asked.append(n) or str(n) for n in range(100)), workers=2, ahead=3)
    assert next(answers) == 0
    assert asked == list(range(6))
    answers.close()


@pytest.mark.parametrize(
    ("fatal", "said"),
    [
        (KILL, r"process \d+ was killed \(SIGKILL\), most likely because memory ran out(.|\n)*dataset.num_workers"),
        ("__import__('os').abort()", r"was ended by SIGABRT(.|\n)*dataset.num_workers = 0"),
        ("__import__('os')._exit(7)", r"exited with 7"),
    ],
)
def test_a_death_is_told_once_what_was_made_is_given(fatal, said):
    answers = evaluated(["0", "1", "2", "3", fatal, *map(str, range(5, 50))])
    assert list(islice(answers, 4)) == [0, 1, 2, 3]
    with pytest.raises(UserError, match=said):
        next(answers)


def test_a_busy_worker_that_is_killed_keeps_nobody_waiting():
    answers = evaluated(["1", "__import__('time').sleep(600)", "2"])
    assert next(answers) == 1
    servers = psutil.Process().children()
    busy = [child for server in servers for child in server.children()]
    assert len(busy) == 2
    for child in busy:
        child.kill()
    with pytest.raises(UserError, match="SIGKILL"):
        next(answers)
    assert not [child for server in servers for child in server.children() if child.status() != psutil.STATUS_ZOMBIE]


def test_signals_to_the_group_are_left_to_the_loop():
    raised = "__import__('signal').raise_signal({}) or {}"
    assert list(evaluated([raised.format(2, 5), raised.format(15, 6)])) == [5, 6]


def test_errors_keep_their_class_and_say_where():
    with pytest.raises(ZeroDivisionError) as raised:
        list(evaluated(["1", "1 / 0"]))
    (note,) = raised.value.__notes__
    assert "in a data worker" in note
    assert "<string>" in note
    strange = "exec('class Odd(Exception):\\n def __init__(self, a, b): super().__init__(a)\\nraise Odd(1, 2)')"
    with pytest.raises(RuntimeError, match="Odd: 1"):
        list(evaluated([strange]))


def test_requests_that_fail_end_after_what_was_asked_before():
    def requests():
        yield from "0123"
        raise UserError("row 5 is damaged")

    answers = evaluated(requests(), workers=3, ahead=4)
    assert list(islice(answers, 4)) == [0, 1, 2, 3]
    with pytest.raises(UserError, match="row 5 is damaged"):
        next(answers)


def test_a_worker_is_given_little_of_large_data(make_data, make_rows, tmp_path):
    """Documents in files cross by name, those in memory not at all, and the rows only where a collator asks."""
    data = make_data([5, 6])
    assert isinstance(data.corpus.documents, TokenStore)
    assert not pickles_over(data.corpus.documents, 500)
    ids = datasets.Dataset.from_dict({"input_ids": np.zeros((50_000, 10), dtype=np.int32)})
    assert pickles_over(ArrowDocuments(ids), HEAVY)
    ids.save_to_disk(tmp_path / "ids")
    mapped = datasets.load_from_disk(tmp_path / "ids")
    assert not pickles_over(ArrowDocuments(mapped), 10_000)
    assert pickles_over(ArrowDocuments(mapped.select(np.random.default_rng(0).permutation(40_000)[:30_000])), 200_000)
    rows = {"train": make_rows([50] * 10_000)}
    context = attrs.evolve(data.collator.context, dataset=rows)
    part = Part(kind="datacollator", name="mlm", options=MaskedLM())
    assert pickles_over(context, HEAVY)
    assert not pickles_over(CollatorRecipe(part, context), 50_000)
    looking = CollatorRecipe(part, context)
    len(looking.context.dataset)
    assert pickles_over(looking, HEAVY)


def test_documents_in_memory_train_alike_with_workers(make_data, make_rows):
    lengths = np.random.default_rng(2).integers(1, 30, 300).tolist()
    source = make_data(lengths)
    held = [source.corpus.documents.ids(n, 0, length).tolist() for n, length in enumerate(lengths)]
    rows = datasets.Dataset.from_dict({"input_ids": held, "ballast": [b"x" * 10_000] * 300})
    here, there = (make_data([], rows=rows, num_workers=workers) for workers in (0, 2))
    assert pickles_over(there.corpus.documents, HEAVY)
    for one, other in zip(islice(here.steps(here.start(), 0), 8), there.steps(there.start(), 0), strict=False):
        assert one.cursor == other.cursor
        for mine, its in zip(one.micro_batches, other.micro_batches, strict=True):
            assert mine.batch.input_ids.tolist() == its.batch.input_ids.tolist()
            assert mine.batch.fields["labels"].tolist() == its.batch.fields["labels"].tolist()
    here.close()
    there.close()


def test_workers_that_do_not_persist_change_with_the_epoch(make_data):
    def crews(persistent):
        data = make_data([14] * 24, num_workers=1, persistent_workers=persistent)
        seen, ids = [], []
        for step in islice(data.steps(data.start(), 0), 15):
            found = {child.pid for server in psutil.Process().children() for child in server.children()}
            seen.append(found)
            ids.append([micro.batch.input_ids.tolist() for micro in step.micro_batches])
        data.close()
        return set().union(*seen), ids

    lasting, changing = crews(True), crews(False)
    assert len(lasting[0]) == 1
    assert len(changing[0]) >= 2
    assert lasting[1] == changing[1]


def test_a_field_of_nothing_reaches_the_loop():
    """Numpy gives an empty array whatever strides, and torch takes them over."""
    import numpy as np
    import torch

    from neobert.batch import Batch, SequenceLayout
    from neobert.data.loader import _pack

    nothing = torch.from_numpy(np.repeat(np.arange(3), [0, 0, 0]))
    batch = Batch(torch.tensor([1, 2]), SequenceLayout.from_lengths([2]), {"negative": nothing})
    found = _pack(batch).open().fields["negative"]
    assert (found.dtype, found.shape) == (torch.int64, (0,))
