"""Real corpora for benchmarks, as the lengths of their documents in tokens.

The standard library's prose is there on every machine. Others are folders or files that a benchmark's command line
names: ``.html`` and ``.htm`` (their text alone), ``.rst`` and ``.txt``, each also ``.gz``: a document a file; and
WordNet's ``data.noun`` and its like: a document a line, its gloss. Each corpus has a WordPiece tokenizer of the kind
that recipes/pretrain.toml trains, of a sample of its own text. Lengths are kept in the system's temporary folder.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOCABULARY = 8192
SAMPLE_CHARACTERS = 8_000_000
"""Of text that a tokenizer is trained on."""
KEPT = Path(tempfile.gettempdir(), "neobert-benchmarks")
WORDNET = ("data.noun", "data.verb", "data.adj", "data.adv")
Corpora = dict[str, NDArray[np.int32]]


def add_flags(parser: argparse.ArgumentParser) -> None:
    """``--corpus NAME=PATH``, any number of times."""
    say = "one more corpus, besides the standard library: a folder or a file"
    parser.add_argument("--corpus", action="append", default=[], type=_named, metavar="NAME=PATH", help=say)


def read_corpora(named: Iterable[tuple[str, Path]]) -> Corpora:
    """The standard library by modules and by items, and those named: lengths (documents,) int32 without special
    tokens."""
    os.environ["NEOBERT_CACHE"] = str(KEPT)
    found = {}
    for document in ("module", "item"):
        key = f"stdlib {document} {platform.python_version()}"
        found[f"stdlib, {document}s"] = _kept(key, lambda document=document: _standard_library(document))
    for name, path in named:
        files = _files(path)
        key = "\n".join(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
        found[name] = _kept(key, lambda files=files: [text for file in files for text in _documents(file)])
    return found


def versions() -> str:
    """One line of what was measured with."""
    packages = " ".join(f"{name} {version(name)}" for name in ("neobert", "numpy", "tokenizers"))
    return f"{packages}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"


def _named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not Path(path).exists():
        msg = f"{text!r}: expected NAME=PATH of a folder or file that is there"
        raise argparse.ArgumentTypeError(msg)
    return name, Path(path)


def _kept(key: str, texts: Callable[[], list[str]]) -> NDArray[np.int32]:
    """The lengths of texts, made once."""
    about = f"1 {VOCABULARY} {SAMPLE_CHARACTERS} {version('tokenizers')} {key}"
    path = KEPT / f"lengths-{hashlib.blake2b(about.encode(), digest_size=12).hexdigest()}.npy"
    if not path.exists():
        lengths = _lengths(texts())
        with tempfile.NamedTemporaryFile(dir=KEPT, delete=False) as file:
            np.save(file, lengths)
        Path(file.name).replace(path)
    return np.load(path)


def _lengths(texts: list[str]) -> NDArray[np.int32]:
    import datasets

    from neobert.data.tokenization import tokenize
    from neobert_plugins.tokenizers.options import TrainWordPiece

    step = max(1, sum(map(len, texts)) // SAMPLE_CHARACTERS)
    sample = datasets.Dataset.from_dict({"text": texts[::step]})
    context: Any = SimpleNamespace(dataset={"train": sample}, max_seq_length=512)
    tokenizer = TrainWordPiece(vocab_size=VOCABULARY).build(context)
    return np.array(tokenize(datasets.Dataset.from_dict({"text": texts}), tokenizer).lengths, dtype=np.int32)


def _standard_library(document: Any) -> list[str]:
    from neobert_plugins.datasets.stdlib_options import StandardLibrary

    built = StandardLibrary(document=document).build(None)  # type: ignore[arg-type]
    return list(built["train"]["text"])


def _files(path: Path) -> list[Path]:
    """Those that are text, in the order of their names; links aside."""
    if path.is_file():
        return [path]
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and not file.is_symlink())
    return [file for file in files if file.name in WORDNET or _suffix(file) in (".html", ".htm", ".rst", ".txt")]


def _suffix(file: Path) -> str:
    return Path(file.stem if file.suffix == ".gz" else file.name).suffix


def _documents(file: Path) -> Iterable[str]:
    content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    text = content.decode("utf-8", errors="replace")
    if file.name in WORDNET:
        return [line.partition(" | ")[2] for line in text.splitlines() if " | " in line]
    return [_text_of_html(text) if _suffix(file) in (".html", ".htm") else text]


def _text_of_html(page: str) -> str:
    parser = _Text(convert_charrefs=True)
    parser.feed(page)
    parser.close()
    return " ".join(" ".join(parser.parts).split())


class _Text(HTMLParser):
    """What a reader sees of a page."""

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)
