"""A run that has no memory left: what was trained is saved, and one answer says what would make it fit."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from attrs import define, field

from neobert.errors import UserError
from neobert.recipe import Recipe
from neobert.training.command import command_to_go_on
from neobert.training.devices import choose_device
from neobert.training.inspect import largest_vocabulary
from neobert.training.memory import IN_USE, memory_in_use, peak_of_process
from neobert.training.memory_advice import Advice, advice, estimate
from neobert.wording import gigabytes

if TYPE_CHECKING:
    from neobert.training.loop import Position
    from neobert.training.recorder import Recorder

_OF_THE_CPU = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "bad allocation")
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class OutOfMemoryError(Exception):
    """No memory was left, and what there was to save is saved."""

    def __init__(self, said: str, outcome: str) -> None:
        super().__init__(said)
        self.said, self.outcome = said, outcome


def shortage(error: BaseException) -> str | None:
    """What an exception says of memory that could not be had, in a line; None for any other exception."""
    text = str(error).partition("\n")[0]
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return text or "no memory is left"
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _OF_THE_CPU):
        return text
    return None


@define
class MemoryAnswer:
    """Answers for a run that is out of memory, once all that it had is given back."""

    recipe: Recipe
    base: int = field(factory=memory_in_use)
    """Bytes of Python and libraries, before anything was built."""
    vocab_size: int | None = None
    """Known once the tokenizer is built."""

    def given(self, work: Callable[[], int]) -> int:
        """What ``work`` returns; whatever it raises about memory becomes a UserError."""
        said, outcome = None, ""
        try:
            return work()
        except OutOfMemoryError as error:
            said, outcome = error.said, error.outcome
        except Exception as error:
            said = shortage(error)
            if said is None:
                raise
        # Out of the except clauses: the exception held on to every frame of the run, and they to their tensors.
        raise UserError(self._text(said, outcome))

    def _text(self, said: str, outcome: str) -> str:
        lines = [f"out of memory: {said}"]
        vocab_size = self.vocab_size or largest_vocabulary(self.recipe)
        device = choose_device(self.recipe.trainer)
        total = None if vocab_size is None else estimate(self.recipe, vocab_size, device)
        if total is not None:
            base = self.base + IN_USE if device.type == "cpu" else 0
            lines.append(f"the run is estimated to take {gigabytes(total + base)} (as --check estimates it)")
        lines.append(f"there is {there(device)}")
        if total is not None and vocab_size is not None:
            lines += _told(advice(self.recipe, vocab_size, device, total))
        return "\n".join([*lines, *([outcome] if outcome else [])])


def saved_when_short(
    work: Callable[[], None], recorder: Recorder, position: Position, recipe: Recipe, free: Callable[[], None]
) -> None:
    """Does the work. A shortage of memory in it is raised as `OutOfMemoryError`, with the position saved where it is
    whole.

    ``free`` gives back what the step that failed had.
    """
    try:
        work()
    except Exception as error:
        said = shortage(error)
        if said is None:
            raise
    else:
        return
    free()
    raise OutOfMemoryError(f"{said} (in step {position.step + 1} or before it)", _saved(recorder, position, recipe))


def _saved(recorder: Recorder, position: Position, recipe: Recipe) -> str:
    """Saves what is new and whole; says what became of it."""
    if position.between:
        return "it came while weights were being updated, so they are not saved; the checkpoints before are"
    if not recorder.has_unsaved(position):
        return ""
    try:
        recorder.save_now(position)
    except Exception as error:
        return f"step {position.step} could not be saved: {str(error).partition(chr(10))[0]}"
    return f"step {position.step} is saved; to go on, with a setting that changes no past:  {command_to_go_on(recipe)}"


def _told(found: list[Advice]) -> Iterator[str]:
    if not found:
        yield "no setting that this can estimate would help; a smaller model would"
        return
    yield "what would help most:"
    width = max(len(one.overrides) for one in found)
    for one in found:
        where = "" if one.resumable else "; for a new run"
        share = one.saved / (one.total + one.saved)
        yield f"  {one.overrides:{width}}  {gigabytes(one.saved)} less ({share:.0%} of its tensors){where}"


def there(device: torch.device) -> str:
    """How much memory the run could have had, and how much of it it took."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        mine = torch.cuda.max_memory_allocated(device)
        return (
            f"{gigabytes(total)} on {device}, {gigabytes(free)} of it free now; this run had {gigabytes(mine)} at most"
        )
    limit, why = min(_limits())
    return f"{gigabytes(limit)} {why}; this process had {gigabytes(peak_of_process())} at most"


def _limits() -> Iterator[tuple[int, str]]:
    """Whatever bounds this process, in bytes."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield pages, "of memory in this machine"
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        yield soft, "of addresses for this process (ulimit -v)"
    for file in map(Path, _CGROUP_LIMITS):
        try:
            said = file.read_text().strip()
        except OSError:
            continue
        if said.isdecimal() and int(said) < pages:
            yield int(said), "for this process's control group, such as a container"
