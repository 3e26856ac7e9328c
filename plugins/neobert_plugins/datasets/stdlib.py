"""The standard library as a corpus: found, parsed once, split by module, kept in the cache."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_paths
from typing import TYPE_CHECKING, Any

from attrs import asdict, evolve, frozen

from neobert.cache import build_once, cache_directory
from neobert.errors import UserError
from neobert_plugins.datasets.prose import Item, module_items

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from neobert_plugins.datasets.stdlib_options import StandardLibrary

logger = logging.getLogger("neobert.datasets")

_FORMAT = "2"
_NO_PROSE = ("__pycache__", "site-packages", "dist-packages", "lib-dynload", "pydoc_data")
_TESTS = ("test", "tests", "idle_test", "testing")


@frozen
class Source:
    """A module to read."""

    module: str
    path: Path
    group: str
    """What it is split by: its name, the same for a module and its twin (``_pydatetime`` and ``datetime``)."""


@frozen
class Document:
    """A text, where it is from, and what it is split by."""

    text: str
    module: str
    group: str


def read(options: StandardLibrary) -> dict[str, Any]:
    """``train``, and ``eval`` unless nothing is held out: rows of ``text`` and ``module``."""
    import datasets

    sources = list(_find(options))
    folder = build_once(
        cache_directory("stdlib") / _fingerprint(sources, options),
        lambda folder: _build(folder, sources, options),
    )
    loaded = datasets.load_from_disk(str(folder))
    return dict(loaded)


def _find(options: StandardLibrary) -> Iterator[Source]:
    yield from _modules(Path(get_paths()["stdlib"]), "", options.tests)
    for root in options.roots:
        spec = find_spec(root)
        if spec is None or (spec.origin is None and not spec.submodule_search_locations):
            msg = f"dataset.roots names {root!r}, which is not installed here"
            raise UserError(msg)
        if spec.submodule_search_locations:
            for place in spec.submodule_search_locations:
                yield from _modules(Path(place), root, options.tests)
        elif spec.origin and spec.origin.endswith(".py"):
            yield Source(root, Path(spec.origin), root)


def _modules(folder: Path, package: str, tests: bool) -> Iterator[Source]:
    for path in sorted(_python_files(folder, _NO_PROSE if tests else _NO_PROSE + _TESTS)):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[-1].startswith("_sysconfigdata") or (not tests and parts[-1].startswith("test_")):
            continue
        names = [*package.split("."), *parts] if package else list(parts)
        if names[-1] == "__init__":
            names.pop()
        yield Source(".".join(names), path, ".".join(name.removeprefix("_py").strip("_") for name in names))


def _python_files(folder: Path, skipped: tuple[str, ...]) -> Iterator[Path]:
    """Modules at any depth. What is skipped is not walked through: it may hold thousands of files."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name.isidentifier() and name not in skipped]
        for file in files:
            name, dot, ending = file.rpartition(".")
            if dot and ending == "py" and name.isidentifier() and name not in skipped:
                yield Path(parent, file)


def _fingerprint(sources: list[Source], options: StandardLibrary) -> str:
    about = {"format": _FORMAT, "python": sys.version, "options": asdict(options)}
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for source in sources:
        stat = source.path.stat()
        digest.update(f"{source.module} {source.path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _build(folder: Path, sources: list[Source], options: StandardLibrary) -> None:
    import datasets

    documents = [document for source in sources for document in _documents(source, options)]
    if "topics" in options.material:
        documents += _topics()
    held_out = _held_out(documents, options.eval_share)
    splits: dict[str, list[Document]] = {"eval": [], "train": []}
    for document in documents:
        splits["eval" if document.group in held_out else "train"].append(document)
    repeated = _drop_repeated(splits)
    if not splits["train"]:
        msg = f"dataset stdlib: no text of material {list(options.material)} in {len(sources)} modules"
        raise UserError(msg)
    logger.info("stdlib: %d modules read, %d repeated texts left out", len(sources), repeated)
    by_split = {}
    for name, found in splits.items():
        if not found:  # an empty dataset can be saved, but not loaded
            continue
        rows = _joined(found) if options.document == "module" else found
        columns = {"text": [row.text for row in rows], "module": [row.module for row in rows]}
        features = datasets.Features({column: datasets.Value("string") for column in columns})
        by_split[name] = datasets.Dataset.from_dict(columns, features=features)
    from neobert_plugins.datasets.quiet import bars_on_terminals_only

    with bars_on_terminals_only():
        datasets.DatasetDict(by_split).save_to_disk(str(folder))


def _documents(source: Source, options: StandardLibrary) -> Iterator[Document]:
    try:
        text = source.path.read_text(encoding="utf-8")
        items: Iterable[Item] = module_items(text, source.module, options.material)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        logger.info("stdlib: %s left out: %s", source.path, error)
        return
    for item in items:
        yield Document(item.text, source.module, source.group)


def _topics() -> list[Document]:
    """The help topics of the language reference; each is its own group."""
    from pydoc_data.topics import topics

    return [Document(text.strip(), f"topic:{name}", f"topic:{name}") for name, text in sorted(topics.items())]


def _held_out(documents: list[Document], share: float) -> set[str]:
    """Groups in the order of their hash, as many as fit into the share of all characters."""
    sizes: dict[str, int] = {}
    for document in documents:
        sizes[document.group] = sizes.get(document.group, 0) + len(document.text)
    room = share * sum(sizes.values())
    chosen = set()
    for group in sorted(sizes, key=lambda name: hashlib.blake2b(name.encode()).digest()):
        if sizes[group] <= room:
            room -= sizes[group]
            chosen.add(group)
    return chosen


def _drop_repeated(splits: dict[str, list[Document]]) -> int:
    """Keeps the first of identical texts, the held-out one before all: none is on both sides."""
    seen: set[str] = set()
    dropped = 0
    for name, documents in splits.items():
        kept = []
        for document in documents:
            content = " ".join(document.text.split())
            if content not in seen:
                kept.append(document)
            seen.add(content)
        dropped += len(documents) - len(kept)
        splits[name] = kept
    return dropped


def _joined(documents: list[Document]) -> list[Document]:
    """One document a module: its texts in the order of the source."""
    modules: dict[str, Document] = {}
    for document in documents:
        before = modules.get(document.module)
        text = document.text if before is None else f"{before.text}\n\n{document.text}"
        modules[document.module] = evolve(document, text=text)
    return list(modules.values())
