"""Work that is done while the loop goes on: one piece at a time, and what goes wrong with it is never lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import Any

from attrs import define, field, frozen


@define
class Background:
    """One piece of work in a thread.

    The thread never keeps the process: whoever wants the work done before the end waits for it with `settle`.
    """

    _thread: Thread | None = field(default=None, init=False)
    _error: BaseException | None = field(default=None, init=False)

    @property
    def has_ended(self) -> bool:
        """Whether there is work that has come to its end and was not settled yet."""
        return self._thread is not None and not self._thread.is_alive()

    def begin(self, work: Callable[[], None], name: str) -> None:
        """Starts ``work``, once what was begun before is settled."""
        self.settle()

        def run() -> None:
            try:
                work()
            except BaseException as error:  # raised by settle, in the thread that can tell a person
                self._error = error

        self._thread = Thread(target=run, name=name, daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Waits until the work is done, and raises what it raised; nothing where there is none."""
        if self._thread is None:
            return
        self._thread.join()
        error, self._thread, self._error = self._error, None, None
        if error is not None:
            raise error


@frozen
class TokenizerFiles:
    """A tokenizer as the files that it saves: to be written while the tokenizer itself is in use."""

    files: Mapping[str, bytes]

    @classmethod
    def of(cls, tokenizer: Any) -> TokenizerFiles:
        with TemporaryDirectory() as name:
            tokenizer.save_pretrained(name)
            paths = (path for path in Path(name).rglob("*") if path.is_file())
            return cls({path.relative_to(name).as_posix(): path.read_bytes() for path in paths})

    def save_pretrained(self, directory: Path) -> None:
        """Writes the files into a folder, which is made where it is not there."""
        for name, content in self.files.items():
            path = Path(directory) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
