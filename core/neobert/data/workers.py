"""Processes that make batches ahead of the loop, each in the order in which it was asked.

A worker has pipes of its own and shares no lock with the others: one that is killed leaves nobody waiting, and is
noticed at once. A thread reads what they make, so that none is held up by a loop that is busy elsewhere.
"""

from __future__ import annotations

import atexit
import signal
import traceback
from contextlib import suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from neobert.errors import UserError
from neobert.fresh_processes import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from multiprocessing.connection import Connection

PATIENCE = 5.0
"""Seconds that a worker has to finish its batch when it is not needed any more."""


_GONE = object()


@frozen(eq=False)
class _Failure:
    """What a worker raised."""

    error: Exception


@frozen(eq=False)
class _Worker:
    process: Any
    requests: Connection
    """Closed, it ends the worker."""
    answers: Connection
    results: SimpleQueue[Any] = field(factory=SimpleQueue)
    """In the order of the requests; `_GONE`: it has ended, and nothing follows."""


def in_order(make: Callable[[Any], Any], requests: Iterable[Any], *, workers: int, ahead: int) -> Generator[Any]:
    """``make(request)`` of every request, in order, made by ``workers`` processes, each ``ahead`` requests ahead.

    ``make`` is pickled to every worker. What it raises is raised here, with the worker's traceback as a note; what
    ``requests`` raises, once all that was asked for has been given. Raises UserError when a worker dies.
    """
    crew: list[_Worker] = []
    reader = Thread(target=_read, args=(crew,), name="neobert-batches", daemon=True)
    end = partial(_end, crew, reader)
    atexit.register(end)  # before multiprocessing waits for its children
    try:
        for _ in range(workers):
            crew.append(_start(make))
        reader.start()
        yield from _results(crew, iter(requests), ahead * workers)
    finally:
        end()
        atexit.unregister(end)


def _results(crew: list[_Worker], requests: Iterator[Any], ahead: int) -> Iterator[Any]:
    asked = given = 0
    failed: Exception | None = None
    while True:
        while failed is None and asked < given + ahead:
            try:
                request = next(requests)
            except StopIteration:
                break
            except Exception as error:  # raised below
                failed = error
                break
            _ask(crew[asked % len(crew)], request)
            asked += 1
        if given == asked:
            break
        worker = crew[given % len(crew)]
        result = worker.results.get()
        if result is _GONE:
            raise UserError(_death(worker.process))
        if isinstance(result, _Failure):
            raise result.error
        yield result
        given += 1
    if failed is not None:
        raise failed


def _ask(worker: _Worker, request: Any) -> None:
    # One that is dead is met where its results are taken: those that it made before come first.
    with suppress(ConnectionError):
        worker.requests.send(request)


def _read(crew: list[_Worker]) -> None:
    """Reads every worker's answers as they come, until all workers have ended."""
    alive = list(crew)
    while alive:
        ready = set(wait([source for worker in alive for source in (worker.answers, worker.process.sentinel)]))
        for worker in [worker for worker in alive if {worker.answers, worker.process.sentinel} & ready]:
            try:
                # Where only the sentinel called, nothing is left in the pipe.
                answer = worker.answers.recv() if worker.answers.poll() else _GONE
            except (EOFError, ConnectionError):
                answer = _GONE
            worker.results.put(answer)
            if answer is _GONE:
                alive.remove(worker)


def _end(crew: list[_Worker], reader: Thread) -> None:
    """No worker outlives the loop: one that does not finish its batch in time is killed."""
    for worker in crew:
        worker.requests.close()
    for worker in crew:
        worker.process.join(PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
    if reader.is_alive():
        reader.join()
    for worker in crew:
        worker.answers.close()


def _death(process: Any) -> str:
    process.join(PATIENCE)
    code = process.exitcode
    many = "fewer workers need less: dataset.num_workers, or 0 to make batches in the loop"
    if code == -signal.SIGKILL:
        return (
            f"a data worker died: process {process.pid} was killed (SIGKILL), most likely because memory ran out; the "
            f"system's log (dmesg) may say more\n{many}"
        )
    how = f"was ended by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exited with {code}"
    return (
        f"a data worker died: process {process.pid} {how}\n"
        "dataset.num_workers = 0 makes batches in the loop, where the fault shows itself"
    )


def _start(make: Callable[[Any], Any]) -> _Worker:
    context: Any = serving(["neobert.data.loader"])  # which imports torch
    their_requests, requests = context.Pipe(duplex=False)
    answers, their_answers = context.Pipe(duplex=False)
    with their_requests, their_answers:
        process = context.Process(
            target=_work, args=(their_requests, their_answers, make), name="neobert-worker", daemon=True
        )
        process.start()
    return _Worker(process, requests, answers)


def _work(requests: Connection, answers: Connection, make: Callable[[Any], Any]) -> None:
    """A worker's life. Signals to the whole group are the loop's to answer: it still needs the batches of its step."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        while True:
            answers.send(_answer(make, requests.recv()))
    except (EOFError, ConnectionError):
        return  # the loop has ended, or its process


def _answer(make: Callable[[Any], Any], request: Any) -> Any:
    try:
        return make(request)
    except Exception as error:  # raised again in the loop
        if not isinstance(error, UserError):
            error.add_note(f"in a data worker:\n{traceback.format_exc()}")
        return _Failure(_sendable(error))


def _sendable(error: Exception) -> Exception:
    """The error itself, or one that says as much where it does not survive pickling."""
    try:
        copy: Exception = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # its class may do anything
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return copy
