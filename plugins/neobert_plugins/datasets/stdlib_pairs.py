"""The standard library as pairs: found and held out as dataset stdlib does, parsed once, kept in the cache."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from attrs import frozen

from neobert.cache import build_once, cache_directory
from neobert.errors import UserError
from neobert.wording import counted
from neobert_plugins.datasets.code_pairs import module_pairs
from neobert_plugins.datasets.prose_pairs import context_pairs, crop_pairs
from neobert_plugins.datasets.stdlib import documents_of, find_modules, fingerprint, held_out_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from neobert_plugins.datasets.stdlib import Source
    from neobert_plugins.datasets.stdlib_pairs_options import StandardLibraryPairs

logger = logging.getLogger("neobert.datasets")

_FORMAT = "3"
_PROSE = ("docstrings", "comments", "topics")
_OF_PROSE = {"crops": crop_pairs, "context": context_pairs}


@frozen
class Row:
    """A query and what belongs to it."""

    query: str
    positive: str

    @property
    def contents(self) -> tuple[str, str]:
        """Both, however their space is laid out."""
        return " ".join(self.query.split()), " ".join(self.positive.split())


def read(options: StandardLibraryPairs) -> dict[str, Any]:
    """``train``, and ``eval`` unless nothing is held out: rows of ``query`` and ``positive``."""
    import datasets

    library = list(find_modules(()))
    sources = list(find_modules(options.roots))
    folder = build_once(
        cache_directory("stdlib-pairs") / fingerprint(sources, options, _FORMAT),
        lambda folder: _build(folder, library, sources[len(library) :], options),
    )
    return dict(datasets.load_from_disk(str(folder)))


def held_out_modules(library: Iterable[Source], options: StandardLibraryPairs) -> set[str]:
    """The groups of modules, and the help topics, that are kept for evaluation."""
    shares = (options.eval_share, options.reserved_share)
    if not any(shares):
        return set()
    return set().union(*held_out_groups(documents_of(library, options.eval_material), *shares))


def _build(folder: Path, library: list[Source], further: list[Source], options: StandardLibraryPairs) -> None:
    import datasets

    from neobert_plugins.datasets.quiet import bars_on_terminals_only

    held_out = held_out_modules(library, options)
    own = [source for source in library if source.group not in held_out] if options.library else []
    trained = [*own, *further]
    evaluated = [source for source in library if source.group in held_out]
    found = {"eval": _rows(evaluated, ("docstring_code",)), "train": _rows(trained, options.forms)}
    for form, pairs_of in _OF_PROSE.items():
        if form in options.forms:
            texts = (document.text for document in documents_of(trained, _PROSE) if document.group not in held_out)
            found["train"] += [Row(*pair) for text in texts for pair in pairs_of(text)]
    splits, left_out = _without_repeats(found)
    if not options.library:
        splits["eval"] = []  # no pair to train on has a text of theirs all the same
    if not splits["train"]:
        msg = f"dataset stdlib_pairs: no pair of the forms {', '.join(options.forms)} in {len(trained)} modules"
        raise UserError(msg)
    sizes = [counted(len(splits[name]), "pair") for name in ("train", "eval")]
    logger.info("stdlib_pairs: %s to train on, %s held out; %s left out that repeat others", *sizes, f"{left_out:,}")
    features = datasets.Features({name: datasets.Value("string") for name in ("query", "positive")})
    by_split = {
        name: datasets.Dataset.from_dict(
            {"query": [row.query for row in rows], "positive": [row.positive for row in rows]}, features=features
        )
        for name, rows in splits.items()
        if rows  # an empty dataset can be saved, but not loaded
    }
    with bars_on_terminals_only():
        datasets.DatasetDict(by_split).save_to_disk(str(folder))


def _rows(sources: Iterable[Source], forms: Iterable[str]) -> list[Row]:
    """The pairs of code of these modules."""
    forms = set(forms)
    return [Row(pair.query, pair.positive) for source in sources for pair in _pairs(source, forms)]


def _pairs(source: Source, forms: set[str]) -> Iterator[Any]:
    try:
        yield from module_pairs(source.path.read_text(encoding="utf-8"), forms)
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        logger.info("stdlib_pairs: %s left out: %s", source.path, error)


def _without_repeats(found: dict[str, list[Row]]) -> tuple[dict[str, list[Row]], int]:
    """Keeps the first of identical pairs, and no pair to train on with a text that is held out."""
    splits: dict[str, list[Row]] = {}
    held_out: set[str] = set()
    seen: set[tuple[str, str]] = set()
    for name, rows in found.items():
        splits[name] = []
        for row in rows:
            if row.contents not in seen and held_out.isdisjoint(row.contents):
                splits[name].append(row)
                seen.add(row.contents)
        if name == "eval":
            held_out = {text for row in splits[name] for text in row.contents}
    total = sum(map(len, found.values()))
    return splits, total - sum(map(len, splits.values()))
