"""English prose in Python source: docstrings under their names, and comments that read like sentences."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_COMMENT_BLOCK = re.compile(r"(?m)^[ \t]*#.*(?:\n[ \t]*#.*)*")
_WORD = re.compile(r"[A-Za-z]{2,}")
_MIN_WORDS = 6
_MIN_LETTERS = 0.7
"""Share of a comment that must be letters and spaces: less is a ruler, a table or code."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@frozen
class Item:
    """A text and the line that it begins on."""

    line: int
    text: str


def module_items(source: str, module: str, material: Collection[str]) -> list[Item]:
    """A module's texts, in its order. Raises SyntaxError or ValueError for what is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        tree = ast.parse(source)
    items: list[Item] = []
    if "docstrings" in material:
        items += _docstrings(tree, module)
    if "comments" in material:
        items += _comments(source, _string_lines(tree))
    items.sort(key=lambda item: item.line)
    if "sources" in material and source.strip():
        items.append(Item(source.count("\n") + 1, source.strip()))
    return items


def _docstrings(tree: ast.Module, module: str) -> Iterator[Item]:
    """Each docstring under its qualified name and signature, which say what it speaks of."""
    waiting: list[tuple[_Documented, str]] = [(tree, module)]
    while waiting:
        node, name = waiting.pop()
        text = ast.get_docstring(node, clean=False)
        if text and text.strip():
            yield Item(getattr(node, "lineno", 0), f"{_heading(node, name)}\n{inspect.cleandoc(text)}")
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                waiting.append((child, f"{name}.{child.name}"))


def _heading(node: _Documented, name: str) -> str:
    if isinstance(node, ast.Module):
        return f"module {name}"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        return f"class {name}({bases})" if bases else f"class {name}"
    return f"{name}({ast.unparse(node.args)})"


def _comments(source: str, in_strings: set[int]) -> Iterator[Item]:
    """Blocks of whole-line comments that read like prose."""
    for match in _COMMENT_BLOCK.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        if line in in_strings:
            continue
        text = inspect.cleandoc("\n".join(row.strip().lstrip("#") for row in match.group().splitlines()))
        letters = sum(character.isalpha() or character.isspace() for character in text)
        if len(_WORD.findall(text)) >= _MIN_WORDS and letters >= _MIN_LETTERS * len(text):
            yield Item(line, text)


def _string_lines(tree: ast.Module) -> set[int]:
    """Lines inside strings of several lines, where a ``#`` is no comment."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.end_lineno != node.lineno:
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines
