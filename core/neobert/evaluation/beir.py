"""Retrieval data in the layout of BEIR (Thakur et al. 2021, arXiv:2104.08663): corpus, queries, and who answers whom.

FOLDER/corpus.jsonl      {"_id": "...", "title": "...", "text": "..."}
FOLDER/queries.jsonl     {"_id": "...", "text": "..."}
FOLDER/qrels/test.tsv    query-id <tab> corpus-id <tab> score, under that header
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from neobert.embedding.retrieval import RetrievalBuilder, RetrievalData
from neobert.evaluation.lines import Faults, Line, read_lines
from neobert.wording import counted

FORMAT = (
    'expected: corpus.jsonl of {"_id": "...", "text": "..."} ("title" may be there), queries.jsonl of the same, and '
    "qrels/test.tsv of query-id, corpus-id and score with tabs between, below that header"
)
_SPLITS = ("test", "dev", "validation", "train")
_COLUMNS = ["query-id", "corpus-id", "score"]


def read_beir(folder: Path) -> RetrievalData:
    """Raises UserError with every fault of the three files. A score of 0 is no answer."""
    faults = Faults()
    corpus = _texts(folder / "corpus.jsonl", faults)
    queries = _texts(folder / "queries.jsonl", faults)
    file = _qrels(folder)
    right = list(_right(file, corpus, queries, faults)) if file is not None else []
    if file is None:
        faults.add(str(folder), "no qrels/test.tsv and no qrels.tsv")
    elif not faults.found and not any(grade > 0 for *_, grade in right):
        faults.add(str(file), "no line has a score above 0: no query has an answer")
    faults.refuse(FORMAT)
    builder = RetrievalBuilder()
    for text in corpus.values():
        builder.candidate(text)
    for query, document, grade in right:
        if grade > 0:
            builder.add(queries[query], corpus[document], grade)
    asked = {query for query, _, grade in right if grade > 0}
    notes = [f"answers: {file}"]
    if len(asked) < len(queries):
        notes.append(f"{counted(len(queries) - len(asked), 'query')} left out: no answer is given for them")
    return builder.build(tuple(notes))


def _texts(file: Path, faults: Faults) -> dict[str, str]:
    """Id -> text, behind its title where it has one."""
    found: dict[str, str] = {}
    for line in read_lines(file, faults):
        key, text = line.label("_id"), _whole_text(line)
        if key in found:
            faults.add(line.where, f"a second line with the _id {key!r}")
        elif key is not None and text is not None:
            found[key] = text
    return found


def _whole_text(line: Line) -> str | None:
    title = line.values.get("title")
    if not isinstance(title, str) or not title.strip():
        return line.text("text")
    # A text may be nothing but its title.
    text = line.values.get("text")
    return f"{title} {text}".strip() if isinstance(text, str) else line.text("text")


def _qrels(folder: Path) -> Path | None:
    named = [folder / "qrels" / f"{split}.tsv" for split in _SPLITS]
    return next((file for file in (*named, folder / "qrels.tsv") if file.is_file()), None)


def _right(
    file: Path, corpus: Mapping[str, str], queries: Mapping[str, str], faults: Faults
) -> Iterator[tuple[str, str, float]]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        faults.add(str(file), f"cannot be read: {error}")
        return
    if not lines or lines[0].split("\t") != _COLUMNS:
        faults.add(f"{file}:1", f"expected the header {' <tab> '.join(_COLUMNS)}")
        return
    for number, line in enumerate(lines[1:], start=2):
        if line.strip():
            row = _row(line, f"{file}:{number}", corpus, queries, faults)
            if row is not None:
                yield row


def _row(
    line: str, where: str, corpus: Mapping[str, str], queries: Mapping[str, str], faults: Faults
) -> tuple[str, str, float] | None:
    parts = line.split("\t")
    if len(parts) != len(_COLUMNS):
        faults.add(where, f"has {counted(len(parts), 'column')}, expected {' <tab> '.join(_COLUMNS)}")
        return None
    query, document, score = parts
    for key, known, name in ((query, queries, "queries"), (document, corpus, "corpus")):
        if key not in known:
            faults.add(where, f"{key!r} is no _id of {name}.jsonl")
            return None
    if not score.lstrip("-").isdecimal():
        faults.add(where, f"score {score!r} is no whole number")
        return None
    return query, document, float(score)
