"""From a folder and what stands behind ``--tasks`` to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from attrs import frozen

from neobert.embedding.probe import require_scikit_learn
from neobert.embedding.retrieval import WITHOUT_WORDS, words_are_counted
from neobert.errors import UserError
from neobert.evaluation.beir import read_beir
from neobert.evaluation.data import read_classification, read_pairs, read_similarity
from neobert.evaluation.model import TextModel
from neobert.evaluation.mteb_task import mteb_task
from neobert.evaluation.opening import open_model
from neobert.evaluation.tasks import ClassificationTask, RetrievalTask, SimilarityTask, Task, TaskResult


@frozen(eq=False)
class Asked:
    """A task as the command line has it, its data read."""

    kind: str
    source: str
    task: Task


def read_tasks(said: Sequence[str]) -> list[Asked]:
    """``KIND=FILE`` each. Raises UserError with what is wrong with all of them."""
    found, faults = [], []
    for item in said:
        kind, equals, source = item.partition("=")
        try:
            if kind not in _KINDS or not equals or not source:
                raise UserError(_unknown(item))
            found.append(Asked(kind, source, _KINDS[kind](source)))
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(faults))
    return found


def evaluate(folder: Path, tasks: Sequence[Asked]) -> tuple[TextModel, Iterator[TaskResult]]:
    """The opened model, and each task's figures as they come."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = open_model(folder, device)
    return model, (_result(asked, model) for asked in tasks)


def _result(asked: Asked, model: TextModel) -> TaskResult:
    notes = list(asked.task.notes)
    figures = {"model": asked.task.of_model(model)}
    if not words_are_counted():
        notes.append(WITHOUT_WORDS)
    else:
        try:
            figures |= asked.task.of_words()
        except ValueError as error:  # such as texts without a word that counts
            notes.append(f"without the baselines: {error}")
    return TaskResult(asked.kind, asked.source, asked.task.size, figures, tuple(notes))


def _retrieval(source: str) -> Task:
    path = _existing(source)
    return RetrievalTask(read_beir(path) if path.is_dir() else read_pairs(path))


def _similarity(source: str) -> Task:
    return SimilarityTask(read_similarity(_existing(source, folder=False)))


def _classification(source: str) -> Task:
    require_scikit_learn("classification")
    return ClassificationTask(read_classification(_existing(source, folder=False)))


_KINDS: dict[str, Callable[[str], Task]] = {
    "retrieval": _retrieval,
    "similarity": _similarity,
    "classification": _classification,
    "mteb": mteb_task,
}


def _existing(source: str, *, folder: bool = True) -> Path:
    path = Path(source).expanduser()
    if path.is_file() or (folder and path.is_dir()):
        return path
    what = "no such file or folder" if folder else "no such file"
    msg = f"{source}: {what} (from {Path.cwd()})" if not path.exists() else f"{source} is a folder, a file is expected"
    raise UserError(msg)


def _unknown(item: str) -> str:
    kind, equals, _ = item.partition("=")
    if equals and kind in _KINDS:
        return f"--tasks {item}: a file, or the name of a task, goes behind the ="
    near = get_close_matches(kind, _KINDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near and kind not in _KINDS else ""
    forms = "retrieval=FILE or FOLDER, similarity=FILE, classification=FILE, mteb=NAME"
    problem = f"no task is called {kind!r}{hint}" if kind not in _KINDS else "which file?"
    return f"--tasks {item}: {problem}\n  expected: {forms}"
