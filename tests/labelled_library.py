"""A small real set with labels that every machine has: docstrings of Python's library, and the package each is of."""

from __future__ import annotations

import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("asyncio", "email", "unittest", "xml")
LIBRARY = Path(sysconfig.get_path("stdlib"))


def docstrings(package: str) -> Iterator[str]:
    """First paragraphs of at least five words, of functions and classes in the order of their files."""
    for file in sorted((LIBRARY / package).rglob("*.py")):
        if "test" in file.relative_to(LIBRARY / package).parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                text = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
                if len(text.split()) >= 5:
                    yield text


def rows() -> list[dict[str, str]]:
    """``text`` and ``label``, each text once, in an order that no package has by itself."""
    found = {text: package for package in PACKAGES for text in docstrings(package)}
    return [{"text": text, "label": found[text]} for text in sorted(found, key=lambda text: text[::-1])]


def write(file: Path, chosen: list[dict[str, str]]) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in chosen), encoding="utf-8")
