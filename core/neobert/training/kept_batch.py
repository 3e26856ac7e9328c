"""The data of a step that went wrong, kept in the run's folder so that the step can be run again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from neobert.batch import Batch, SequenceLayout
from neobert.data import MicroBatch
from neobert.errors import UserError
from neobert.files import faults, new_directory, write_json

REPLAYS = "replay"
"""In a run's folder: one folder for each step that is kept."""
TENSORS, ABOUT = "batch.safetensors", "replay.json"
_FIELDS = "fields"


@frozen(kw_only=True, eq=False)
class KeptStep:
    """A step to run again."""

    step: int
    """Its number; the first is 1."""
    weights_step: int
    """The checkpoint whose weights it is run from: the step before, where the run stopped."""
    fault: str
    """What the run found wrong."""
    micro_batches: tuple[MicroBatch, ...]
    objective: str = ""
    """The name of the one that the step is of, where there are several."""


def keep_step(folder: Path, kept: KeptStep) -> None:
    """Writes ``folder`` whole, with a manifest: tensors as safetensors, all else as JSON. One that is there is
    replaced."""
    with new_directory(folder, replace=True) as directory:
        save_file(_tensors(kept.micro_batches), directory / TENSORS)
        about = {
            "step": kept.step,
            "weights_step": kept.weights_step,
            "fault": kept.fault,
            "objective": kept.objective,
            "micro_batches": [
                {
                    "seed": micro.seed,
                    "lengths": list(micro.batch.layout.lengths),
                    "padding": micro.batch.padding,
                    "fields": list(micro.batch.fields),
                }
                for micro in kept.micro_batches
            ],
        }
        write_json(directory / ABOUT, about)


def read_kept_step(folder: Path) -> KeptStep:
    """What `keep_step` wrote, verified. Raises UserError where it is not that."""
    if not (folder / ABOUT).is_file():
        msg = f"{folder} holds no kept step: it has no {ABOUT}; name a folder such as RUN/{REPLAYS}/STEP"
        raise UserError(msg)
    damage = faults(folder)
    if damage:
        msg = f"{folder} is damaged: {'; '.join(damage)}"
        raise UserError(msg)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
        return KeptStep(
            step=int(about["step"]),
            weights_step=int(about["weights_step"]),
            fault=str(about["fault"]),
            objective=str(about["objective"]),
            micro_batches=tuple(
                _micro_batch(number, entry, tensors) for number, entry in enumerate(about["micro_batches"])
            ),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, SafetensorError) as error:
        msg = f"{folder} cannot be read as this version writes it: {type(error).__name__}: {error}"
        raise UserError(msg) from error


def _tensors(micro_batches: Sequence[MicroBatch]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for number, micro in enumerate(micro_batches):
        found[f"{number}.input_ids"] = micro.batch.input_ids.cpu().clone()
        for name, value in micro.batch.fields.items():
            found[f"{number}.{_FIELDS}.{name}"] = value.cpu().contiguous().clone()
    return found


def _micro_batch(number: int, entry: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MicroBatch:
    batch = Batch(
        tensors[f"{number}.input_ids"],
        SequenceLayout.from_lengths(entry["lengths"]),
        {name: tensors[f"{number}.{_FIELDS}.{name}"] for name in entry["fields"]},
    )
    if batch.layout.num_tokens != len(batch.input_ids):
        msg = f"micro-batch {number} has {len(batch.input_ids)} tokens, and its sequences {batch.layout.num_tokens}"
        raise ValueError(msg)
    return MicroBatch(evolve(batch, padding=int(entry["padding"])), int(entry["seed"]))
