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
    from collections.abc import Collection, Iterable, Iterator, Sequence

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

    sources = list(find_modules(options.roots, tests=options.tests))
    folder = build_once(
        cache_directory("stdlib") / fingerprint(sources, options, _FORMAT),
        lambda folder: _build(folder, sources, options),
    )
    loaded = datasets.load_from_disk(str(folder))
    return dict(loaded)


def find_modules(roots: Sequence[str], *, tests: bool = False) -> Iterator[Source]:
    """The standard library's modules, then those of further packages, none of which is imported.

    Raises UserError with all packages that are not installed.
    """
    places = {root: _places(root) for root in roots}
    missing = [repr(root) for root, found in places.items() if not found]
    if missing:
        verb = "which is" if len(missing) == 1 else "which are"
        msg = f"dataset.roots names {', '.join(missing)}, {verb} not installed here"
        raise UserError(msg)
    yield from _modules(Path(get_paths()["stdlib"]), "", tests)
    for root, found in places.items():
        for place in found:
            if place.is_dir():
                yield from _modules(place, root, tests)
            elif place.suffix == ".py":
                yield Source(root, place, root)


def _places(root: str) -> list[Path]:
    """The folders of a package, or the file of a module; nothing where it is not installed. Looking for a module
    inside a package imports the package, so that is looked for on the disk."""
    top, *inside = root.split(".")
    try:
        spec = find_spec(top) if all(name.isidentifier() for name in (top, *inside)) else None
    except ValueError:  # a module that was made by hand
        spec = None
    if spec is None:
        return []
    folders = [Path(place).joinpath(*inside) for place in spec.submodule_search_locations or ()]
    files = [folder.with_suffix(".py") for folder in folders if inside]
    if not inside and not folders and spec.origin:
        files = [Path(spec.origin)]
    return [place for place in (*folders, *files) if place.exists()]


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


def fingerprint(sources: list[Source], options: Any, version: str) -> str:
    """Of the files that are read and of how; ``version`` is that of what is made of them."""
    about = {"format": version, "python": sys.version, "options": asdict(options)}
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    for source in sources:
        stat = source.path.stat()
        digest.update(f"{source.module} {source.path} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _build(folder: Path, sources: list[Source], options: StandardLibrary) -> None:
    import datasets

    documents = documents_of(sources, options.material)
    held_out, reserved = held_out_groups(documents, options.eval_share, options.reserved_share)
    splits: dict[str, list[Document]] = {"eval": [], "reserved": [], "train": []}
    for document in documents:
        where = "eval" if document.group in held_out else "reserved" if document.group in reserved else "train"
        splits[where].append(document)
    repeated = _drop_repeated(splits)
    del splits["reserved"]
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


def documents_of(sources: Iterable[Source], material: Collection[str]) -> list[Document]:
    """All texts of this material, in the order of the modules."""
    documents = [document for source in sources for document in _documents(source, material)]
    return documents + (_topics() if "topics" in material else [])


def _documents(source: Source, material: Collection[str]) -> Iterator[Document]:
    try:
        text = source.path.read_text(encoding="utf-8")
        items: Iterable[Item] = module_items(text, source.module, material)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        logger.info("stdlib: %s left out: %s", source.path, error)
        return
    for item in items:
        yield Document(item.text, source.module, source.group)


def _topics() -> list[Document]:
    """The help topics of the language reference; each is its own group."""
    from pydoc_data.topics import topics

    return [Document(text.strip(), f"topic:{name}", f"topic:{name}") for name, text in sorted(topics.items())]


def held_out_groups(documents: list[Document], *shares: float) -> list[set[str]]:
    """For each share, groups in the order of their hash, as many as fit into that share of all characters; those of
    the first share are the same whatever the others are."""
    sizes: dict[str, int] = {}
    for document in documents:
        sizes[document.group] = sizes.get(document.group, 0) + len(document.text)
    rooms = [share * sum(sizes.values()) for share in shares]
    waiting = sorted(sizes, key=lambda name: hashlib.blake2b(name.encode()).digest())
    found = []
    for room in rooms:
        chosen = set()
        for group in waiting:
            if sizes[group] <= room:
                room -= sizes[group]
                chosen.add(group)
        waiting = [group for group in waiting if group not in chosen]
        found.append(chosen)
    return found


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
