"""From a folder and what stands behind ``--tasks`` to figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import torch
from attrs import frozen

from neobert.embedding.probe import require_scikit_learn
from neobert.embedding.retrieval import WITHOUT_WORDS, words_are_counted
from neobert.errors import UserError
from neobert.evaluation.beir import read_beir
from neobert.evaluation.data import read_classification, read_pairs, read_similarity
from neobert.evaluation.labelled_task import read_labelled
from neobert.evaluation.models import Models
from neobert.evaluation.mteb_task import mteb_task
from neobert.evaluation.pseudo_task import PseudoOptions, PseudoPerplexityTask, read_texts
from neobert.evaluation.tasks import ClassificationTask, Measured, RetrievalTask, SimilarityTask, Task, TaskResult

PSEUDO = "pseudo_perplexity"
KINDS = ("retrieval", "similarity", "classification", "labelled", "mteb", PSEUDO)


@frozen(eq=False)
class Asked:
    """A task as the command line has it, its data read."""

    kind: str
    source: str
    task: Task


def read_tasks(said: Sequence[str], pseudo: PseudoOptions | None = None) -> list[Asked]:
    """``KIND=FILE`` each. ``pseudo`` is for those of pseudo-perplexity, and has to be left out where there is none.

    Raises UserError with what is wrong with all of them.
    """
    found, faults = [], []
    for item in said:
        kind, equals, source = item.partition("=")
        try:
            if kind not in KINDS or not equals or not source:
                raise UserError(_unknown(item))
            found.append(Asked(kind, source, _read(kind, source, pseudo)))
        except UserError as error:
            faults.append(str(error))
    if pseudo is not None and not any(item.startswith(f"{PSEUDO}=") for item in said):
        faults.append(f"--stream-tokens, --sample and --long-texts are of the task {PSEUDO}, which is not asked for")
    if faults:
        raise UserError("\n".join(faults))
    return found


def evaluate(folder: Path, tasks: Sequence[Asked]) -> tuple[Models, Iterator[TaskResult]]:
    """What is opened for the tasks, and each task's figures as they come."""
    models = Models(folder, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    for asked in tasks:
        models.open(asked.task.asks)
    return models, (_result(asked, models) for asked in tasks)


def _result(asked: Asked, models: Models) -> TaskResult:
    notes = list(asked.task.notes)
    found = asked.task.of_model(models.open(asked.task.asks))
    measured = found if isinstance(found, Measured) else Measured(found)
    figures = {"model": measured.figures}
    if asked.task.asks == "embeddings" and not words_are_counted():
        notes.append(WITHOUT_WORDS)
    else:
        try:
            figures |= asked.task.of_words()
        except ValueError as error:  # such as texts without a word that counts
            notes.append(f"without the baselines: {error}")
    size = ", ".join(filter(None, (asked.task.size, measured.size)))
    return TaskResult(asked.kind, asked.source, size, figures, (*notes, *measured.notes), measured.parts)


def _read(kind: str, source: str, pseudo: PseudoOptions | None) -> Task:
    if kind == "retrieval":
        path = _existing(source)
        return RetrievalTask(read_beir(path) if path.is_dir() else read_pairs(path))
    if kind == "mteb":
        return mteb_task(source)
    if kind == "classification":
        require_scikit_learn("classification")
    file = _existing(source, folder=False)
    if kind == "similarity":
        return SimilarityTask(read_similarity(file))
    if kind == "classification":
        return ClassificationTask(read_classification(file))
    if kind == "labelled":
        return read_labelled(file)
    return PseudoPerplexityTask(read_texts(file), pseudo or PseudoOptions())


def _existing(source: str, *, folder: bool = True) -> Path:
    path = Path(source).expanduser()
    if path.is_file() or (folder and path.is_dir()):
        return path
    what = "no such file or folder" if folder else "no such file"
    msg = f"{source}: {what} (from {Path.cwd()})" if not path.exists() else f"{source} is a folder, a file is expected"
    raise UserError(msg)


def _unknown(item: str) -> str:
    kind, equals, _ = item.partition("=")
    if equals and kind in KINDS:
        return f"--tasks {item}: a file, or the name of a task, goes behind the ="
    near = get_close_matches(kind, KINDS, n=1)
    hint = f"; did you mean {near[0]!r}?" if near and kind not in KINDS else ""
    forms = f"retrieval=FILE or FOLDER, similarity=FILE, classification=FILE, labelled=FILE, {PSEUDO}=FILE, mteb=NAME"
    problem = f"no task is called {kind!r}{hint}" if kind not in KINDS else "which file?"
    return f"--tasks {item}: {problem}\n  expected: {forms}"
