"""Folders ``checkpoints/<step>``: written whole or not at all, verified before they are read, pruned by count."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import Attribute, asdict, field, frozen
from attrs.validators import instance_of

from neobert.errors import UserError
from neobert.export.provenance import Origin
from neobert.files import faults, has_manifest, remove_folder, write_json, write_text
from neobert.interfaces import Checkpointer
from neobert.run_folder import TOKENIZER_DIRECTORY
from neobert.training.ranks import ALONE, Ranks

PROGRESS_FILE = "progress.json"
RECIPE_FILE = "recipe.toml"


def _is_mapping(instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        msg = f"{attribute.name} is a mapping, got {value!r}"
        raise TypeError(msg)


@frozen(kw_only=True)
class Progress:
    """Where a run is, besides its tensors. JSON values only."""

    step: int = field(validator=instance_of(int))
    """Updates done."""
    cursor: Mapping[str, Any] = field(validator=_is_mapping)
    """Where the data goes on."""
    tokens_seen: int = field(validator=instance_of(int))
    meter: Mapping[str, float] = field(validator=_is_mapping)
    """Sums since the last log line."""
    evaluations: Mapping[str, Any] = field(validator=_is_mapping)
    """What the summary compares: the losses before the first step, and the newest."""
    optimizer_layout: Mapping[str, Any] = field(validator=_is_mapping)
    """Keys, shapes and dtypes of the optimizer's tensors, and of the averaged weights."""
    data_fingerprint: str
    tokenizer_fingerprint: str
    num_threads: int = field(validator=instance_of(int))
    world_size: int = field(validator=instance_of(int))
    source_tokens: Mapping[str, int] = field(factory=dict, validator=_is_mapping)
    """Of a mixture: tokens of each source trained on."""
    objective_steps: Mapping[str, int] = field(factory=dict, validator=_is_mapping)
    """Of several objectives: the steps of each."""
    left_out: Mapping[str, int] = field(factory=dict, validator=_is_mapping)
    """Of a stream: rows that were damaged, empty or cut."""
    guard: Mapping[str, Any] = field(factory=dict)
    """What the guard remembers: recent losses and norms, steps that were skipped, and where the run went back."""
    position_losses: Mapping[str, Any] = field(factory=dict)
    """With `trainer.eval_position_buckets`: the sums that the summary compares."""
    labels: Mapping[str, Sequence[str]] = field(factory=dict, validator=_is_mapping)
    """Of each objective whose data has labels: what its classes are called, in the order of their numbers."""
    best: Mapping[str, Any] | None = None
    """With ``trainer.metric_for_best``: the best step so far."""


def origin_of(progress: Progress, *, averaged: bool) -> Origin:
    """What an export of this step says of where it is from."""
    return Origin(
        step=progress.step,
        tokens_seen=progress.tokens_seen,
        data_fingerprint=progress.data_fingerprint,
        tokenizer_fingerprint=progress.tokenizer_fingerprint,
        averaged=averaged,
        evaluations=progress.evaluations,
    )


def save_checkpoint(
    parent: Path,
    progress: Progress,
    state: Mapping[str, Any],
    checkpointer: Checkpointer,
    recipe: str,
    tokenizer: Any,
    ranks: Ranks = ALONE,
) -> Path:
    """Writes ``parent/<step>`` under a temporary name, syncs it, and renames it; the manifest is its last file. One
    that is there already is replaced. Of several processes each gives its state to the checkpointer, and the first
    writes the rest."""
    path = parent / str(progress.step)
    with ranks.new_directory(path) as directory:
        checkpointer.save(directory, state)
        if ranks.first:
            write_json(directory / PROGRESS_FILE, asdict(progress))
            write_text(directory / RECIPE_FILE, recipe)
            tokenizer.save_pretrained(directory / TOKENIZER_DIRECTORY)
    return path


def read_progress(checkpoint: Path) -> Progress:
    """Reads a verified checkpoint's progress."""
    try:
        with progress_errors(checkpoint):
            values = json.loads((checkpoint / PROGRESS_FILE).read_text(encoding="utf-8"))
            return Progress(**values)
    except FileNotFoundError as error:
        msg = f"{checkpoint} is no checkpoint of a run: it has no {PROGRESS_FILE} (an export has none either)"
        raise UserError(msg) from error


@contextmanager
def progress_errors(checkpoint: Path) -> Iterator[None]:
    """Inside, what is wrong with the values of a checkpoint's progress becomes a UserError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        msg = f"{checkpoint}: {PROGRESS_FILE} cannot be read as this version writes it: {error}"
        raise UserError(msg) from error


def step_directories(parent: Path) -> dict[int, Path]:
    """The folders that are named by a step, newest first."""
    if not parent.is_dir():
        return {}
    found = {int(path.name): path for path in parent.iterdir() if path.name.isdecimal() and path.is_dir()}
    return dict(sorted(found.items(), reverse=True))


def newest_intact(parent: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that its manifest vouches for, and a line for each damaged one that was passed over."""
    return _first_intact(step_directories(parent).values())


def prune(parent: Path, keep: int | None, spare: Collection[int | None] = ()) -> list[str]:
    """Deletes the oldest step folders that are ours, until ``keep`` are left; those of the steps ``spare`` stay.

    Before anything goes, one of those that stay is verified, the newest first; where none is intact, the newest intact
    one of the others stays too. Returns a line for each damaged one, and for what stays in its place.
    """
    if keep is None:
        return []
    ours = {step: path for step, path in step_directories(parent).items() if has_manifest(path)}
    going = [path for step, path in list(ours.items())[keep:] if step not in spare]
    if not going:
        return []
    intact, notes = _first_intact(path for path in ours.values() if path not in going)
    if intact is None:
        last, _ = _first_intact(going)
        notes += (
            [f"{last} stays, though trainer.save_total_limit = {keep}: it is the newest intact one"] if last else []
        )
        going = [path for path in going if path != last]
    for path in going:
        remove_folder(path)
    return notes


def _first_intact(paths: Iterable[Path]) -> tuple[Path | None, list[str]]:
    """The first folder that its manifest vouches for, and a line for each before it."""
    damaged: list[str] = []
    for path in paths:
        found = faults(path)
        if not found:
            return path, damaged
        damaged.append(f"{path} is damaged and is passed over: {'; '.join(found)}")
    return None, damaged
