"""Pairs of texts in Python source: what a docstring says, and the code it says it of."""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

MIN_WORDS = 8
"""Of a text."""
MIN_SUMMARY_WORDS = 4
"""Of a docstring's first line."""
MIN_NAME_WORDS = 2
_WORD = re.compile(r"[^\W\d]\w*")
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Documented = ast.ClassDef | _Function


@frozen
class Pair:
    """Two texts, and the line that the second begins on."""

    line: int
    query: str
    positive: str


def module_pairs(source: str, forms: Collection[str]) -> list[Pair]:
    """A module's pairs, in its order. Raises SyntaxError or ValueError for what is not Python."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other people's invalid escapes
        tree = ast.parse(source)
    text = _Text(source)
    pairs = [pair for node in _definitions(tree) for pair in _pairs(node, text, forms)]
    return sorted(pairs, key=lambda pair: pair.line)


def count_words(text: str) -> int:
    """Runs of letters, digits and _ that do not begin with a digit."""
    return len(_WORD.findall(text))


def name_words(name: str) -> str:
    """The words of a name in snake or camel case, in lower case: ``get_HTTPServer2`` is ``get http server 2``."""
    return " ".join(_NAME_WORD.findall(name)).lower()


def _definitions(tree: ast.Module) -> Iterator[_Documented]:
    """Of functions and classes, wherever they stand; expressions, of which there are most, are not looked into."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
                waiting.append(child)
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield child


def _pairs(node: _Documented, text: _Text, forms: Collection[str]) -> Iterator[Pair]:
    docstring = ast.get_docstring(node, clean=True)
    if docstring and "docstring_code" in forms and len(node.body) > 1:
        yield from _if_long(node, docstring, text.without_docstring(node))
    if docstring and "summary_rest" in forms:
        summary, _, rest = docstring.partition("\n")
        yield from _if_long(node, summary.strip(), inspect.cleandoc(rest), least=MIN_SUMMARY_WORDS)
    if "name_body" in forms and not isinstance(node, ast.ClassDef):
        body = text.body(node, skip=1 if docstring else 0)
        yield from _if_long(node, name_words(node.name), body, least=MIN_NAME_WORDS)


def _if_long(node: _Documented, query: str, positive: str, least: int = MIN_WORDS) -> Iterator[Pair]:
    if count_words(query) >= least and count_words(positive) >= MIN_WORDS:
        yield Pair(node.lineno, query, positive)


class _Text:
    """Source, in which places are told as `ast` tells them: lines from 1, columns in bytes of UTF-8."""

    def __init__(self, source: str) -> None:
        # Of bytes, `splitlines` takes for a line what the parser does; of a string, it takes more.
        self._lines = source.encode().splitlines(keepends=True)

    def without_docstring(self, node: _Documented) -> str:
        """A definition with its decorators and comments, as it stands there, but for the docstring."""
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        docstring = node.body[0]
        before = self._between((first, 0), (docstring.lineno, docstring.col_offset))
        after = self._between((docstring.end_lineno, docstring.end_col_offset), (node.end_lineno, node.end_col_offset))
        head, _, own_line = before.rpartition("\n")
        rest_of_line, newline, tail = after.partition("\n")
        rest_of_line = rest_of_line.lstrip(" \t;")
        if not own_line.strip() and not rest_of_line.strip():
            return _dedented(f"{head}\n{tail}" if tail else head, self._indentation(first))
        return _dedented(f"{before}{rest_of_line}{newline}{tail}", self._indentation(first))

    def body(self, node: _Function, skip: int) -> str:
        """What a function does: its statements after the first ``skip``, with the comments between them."""
        statements = node.body[skip:]
        if not statements or statements[0].lineno == node.lineno:
            return ""
        line, column = statements[0].lineno, statements[0].col_offset
        alone = not self._lines[line - 1][:column].strip()
        code = self._between((line, 0 if alone else column), (node.end_lineno, node.end_col_offset))
        return _dedented(code, self._indentation(line))

    def _indentation(self, line: int) -> str:
        found = self._lines[line - 1]
        return found[: len(found) - len(found.lstrip(b" \t"))].decode()

    def _between(self, start: tuple[int | None, int | None], stop: tuple[int | None, int | None]) -> str:
        (first, begin), (last, end) = ((line or 1, column or 0) for line, column in (start, stop))
        if first == last:
            return self._lines[first - 1][begin:end].decode()
        middle = self._lines[first : last - 1]
        return b"".join((self._lines[first - 1][begin:], *middle, self._lines[last - 1][:end])).decode()


def _dedented(code: str, indentation: str) -> str:
    """Without the indentation of its first line; what stands further to the left, in a string, stays."""
    lines = code.replace("\r\n", "\n").split("\n")
    return "\n".join(line.removeprefix(indentation) for line in lines).strip("\n").rstrip()
