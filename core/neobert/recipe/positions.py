"""The line on which each key of a TOML text stands.

tomli gives values without places. This scanner reads text that tomli has already accepted, so it looks only
for structure (headers, keys, strings, brackets) and never has to judge whether the text is valid.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import tomli

if TYPE_CHECKING:
    from neobert.recipe.nodes import Key

_KEY_PART = re.compile(r"""[ \t]*(?:"(?:[^"\\]|\\.)*"|'[^']*'|[^\s.="'\[\]{},#]+)[ \t]*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}(?!")|' + r"'''.*?'{3,5}(?!')|" + r'"(?:[^"\\]|\\.)*"|' + r"'[^']*'", re.DOTALL
)
_BARE_VALUE = re.compile(r"[^,\]}\n#]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")


def key_lines(text: str) -> dict[Key, int]:
    """Every path of the document (tables, keys, and elements of arrays by index) -> its line, counted from 1.

    A table that is opened twice, or only by its subtables, stands where it is first mentioned.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


def split_key(text: str) -> tuple[str, ...] | None:
    """The parts of a dotted key, quoted parts unquoted; None if it is not one."""
    scanner = _Scanner(text)
    try:
        parts = scanner.key()
    except ValueError:
        return None
    return parts if scanner.at == len(text) and all(parts) else None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Key, int] = {(): 1}
        self.array_lengths: dict[Key, int] = {}
        self._counted = (0, 1)

    def document(self) -> None:
        table: Key = ()
        self.blank()
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.header(2)
            elif self.text[self.at] == "[":
                table = self.header(1)
            else:
                self.pair(table)
            self.blank()

    def header(self, brackets: int) -> Key:
        line = self.line()
        self.at += brackets
        names = self.key()
        self.at += brackets
        path: Key = ()
        for index, name in enumerate(names):
            path = (*path, name)
            self.mark(path, line)
            if brackets == 2 and index == len(names) - 1:
                self.array_lengths[path] = self.array_lengths.get(path, 0) + 1
            if path in self.array_lengths:
                path = (*path, self.array_lengths[path] - 1)
                self.mark(path, line)
        return path

    def pair(self, table: Key) -> None:
        """``key = value``, in a table or an inline table."""
        line = self.line()
        path = table
        for name in self.key():
            path = (*path, name)
            self.mark(path, line)
        self.at += 1
        self.value(path)

    def value(self, path: Key) -> None:
        self.blank()
        first = self.text[self.at]
        if first in "\"'":
            self.take(_STRING)
        elif first == "[":
            self.items("]", path)
        elif first == "{":
            self.items("}", path)
        else:
            self.take(_BARE_VALUE)

    def items(self, close: str, path: Key) -> None:
        self.at += 1
        self.blank()
        index = 0
        while self.text[self.at] != close:
            if close == "}":
                self.pair(path)
            else:
                self.mark((*path, index), self.line())
                self.value((*path, index))
            index += 1
            self.blank()
            if self.text[self.at] == ",":
                self.at += 1
                self.blank()
        self.at += 1

    def key(self) -> tuple[str, ...]:
        names = [_unquoted(self.take(_KEY_PART))]
        while self.text.startswith(".", self.at):
            self.at += 1
            names.append(_unquoted(self.take(_KEY_PART)))
        return tuple(names)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            msg = f"no {pattern.pattern!r} at character {self.at}: not TOML, or the scanner is wrong"
            raise ValueError(msg)
        self.at = match.end()
        return match.group()

    def blank(self) -> None:
        self.take(_BLANK)

    def line(self) -> int:
        """The current line. Counted on from the last answer, so that the whole scan is linear."""
        at, line = self._counted
        self._counted = (self.at, line + self.text.count("\n", at, self.at))
        return self._counted[1]

    def mark(self, path: Key, line: int) -> None:
        self.lines.setdefault(path, line)


def _unquoted(part: str) -> str:
    part = part.strip(" \t")
    if part.startswith(("'", '"')):
        return str(tomli.loads(f"key = {part}")["key"])
    return part
