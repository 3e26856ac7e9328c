"""``neobert-run``: runs a recipe, checks it, lists and explains plugins, exports checkpoints.

Each command is a module of `neobert.commands`, imported when it is asked for. What a person can mend ends
in one answer on stderr and status 2; a run that its data ended in 3; SIGINT in 130, SIGTERM in 143; a closed pipe in
141.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, TextIO

from neobert.commands.arguments import parse
from neobert.errors import RecipeError, Terminated, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

MISTAKE = 2
INTERRUPTED = 130
TERMINATED = 143
BROKEN_PIPE = 141

_PLACES = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk failed (input/output error)",
    errno.ESTALE: "what was there is gone from its server (stale file handle)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; ``argv`` is what follows the program's name. Returns the exit status."""

    def work() -> int:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        return int(import_module(f"neobert.commands.{arguments.command}").run(arguments))

    return guarded("neobert-run", work)


def guarded(program: str, work: Callable[[], int]) -> int:
    """The exit status of ``work``, whatever it raises that a person can mend or has asked for told in one answer."""
    _never_fail_on_encoding(sys.stdout, sys.stderr)
    try:
        with _terminable():
            status = work()
            sys.stdout.flush()
            return status
    except RecipeError as error:
        print(error, file=sys.stderr)  # each problem begins with file:line, as editors like it
        return MISTAKE
    except UserError as error:
        return _tell(program, str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print("terminated", file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        if not _stdout_is_closed():
            raise
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in _PLACES:
            raise
        place = f": {error.filename}" if error.filename else ""
        return _tell(program, f"{_PLACES[error.errno]}{place}")


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM unwinds like SIGINT, so that nothing half written stays behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _tell(program: str, message: str) -> int:
    print(f"{program}: {message}", file=sys.stderr)
    return MISTAKE


def _never_fail_on_encoding(*streams: TextIO) -> None:
    """A character that the terminal's encoding does not have is escaped, not an exception."""
    for stream in streams:
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _stdout_is_closed() -> bool:
    """Whether it is our own output that nobody reads; then nothing more is written to it, at exit neither."""
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    if not poll.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    return True


if __name__ == "__main__":
    sys.exit(main())
