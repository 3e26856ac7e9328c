"""Files of one JSON object a line, read strictly: every fault with its file and line, in one answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from attrs import field, frozen

from neobert.errors import UserError

SHOWN = 20
"""Faults that are told; of more, their number."""


@frozen
class Faults:
    """What is wrong with files, gathered."""

    found: list[str] = field(factory=list)

    def add(self, where: str, message: str) -> None:
        """One fault; ``where`` is ``file:line``, or a file."""
        self.found.append(f"{where}: {message}")

    def refuse(self, expected: str) -> None:
        """Raises UserError where there is any; ``expected`` says what the files should have been."""
        if not self.found:
            return
        shown = self.found[:SHOWN]
        more = [f"... and {len(self.found) - SHOWN} more"] if len(self.found) > SHOWN else []
        raise UserError("\n".join((*shown, *more, expected)))


@frozen(eq=False)
class Line:
    """One object, and where it stands. Its methods add to the faults and return None for what is not as asked."""

    where: str
    values: Mapping[str, Any]
    faults: Faults

    def text(self, key: str) -> str | None:
        """A text that is not empty."""
        value = self._get(key)
        if isinstance(value, str) and value.strip():
            return value
        if value is not None:
            self._wrong(key, "a text that is not empty", value)
        return None

    def texts(self, key: str, *, optional: bool = False) -> tuple[str, ...]:
        """One text, or a list of them; empty where it is left out and may be."""
        if optional and self.values.get(key) is None:
            return ()
        value = self._get(key)
        several = value if isinstance(value, list) else [value]
        if several and all(isinstance(item, str) and item.strip() for item in several):
            return tuple(several)
        if value is not None:
            self._wrong(key, "a text that is not empty, or a list of such", value)
        return ()

    def number(self, key: str) -> float | None:
        """A finite number."""
        value = self._get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
            return float(value)
        if value is not None:
            self._wrong(key, "a finite number", value)
        return None

    def label(self, key: str) -> str | None:
        """A text or a whole number, as text."""
        value = self._get(key)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value):
            return str(value)
        if value is not None:
            self._wrong(key, "a text or a whole number", value)
        return None

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """One of these texts."""
        value = self._get(key)
        if value in choices:
            return str(value)
        if value is not None:
            self._wrong(key, f"one of {', '.join(choices)}", value)
        return None

    def _get(self, key: str) -> Any:
        value = self.values.get(key)
        if value is None:
            near = get_close_matches(key, [name for name in self.values if name != key], n=1)
            hint = f"; did you mean it by {near[0]!r}?" if near else ""
            self.faults.add(self.where, f"no {key!r}; it has {', '.join(map(repr, self.values)) or 'nothing'}{hint}")
        return value

    def _wrong(self, key: str, expected: str, value: Any) -> None:
        found = json.dumps(value, ensure_ascii=False)
        self.faults.add(
            self.where, f"{key!r} is {found if len(found) <= 60 else found[:57] + '...'}, expected {expected}"
        )


def read_lines(file: Path, faults: Faults) -> Iterator[Line]:
    """The objects of a file; empty lines are passed over. What cannot be read is added to ``faults``."""
    try:
        data = file.read_bytes()
    except OSError as error:
        faults.add(str(file), f"cannot be read: {error.strerror}")
        return
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        where = f"{file}:{number}"
        try:
            values = json.loads(raw.decode("utf-8"))
        except UnicodeDecodeError as error:
            faults.add(where, f"not UTF-8: byte {error.object[error.start]:#04x} at {error.start}")
        except ValueError as error:
            faults.add(where, f"no JSON: {error}")
        else:
            if isinstance(values, dict):
                yield Line(where, values, faults)
            else:
                faults.add(where, f"expected an object, found {type(values).__name__}")
