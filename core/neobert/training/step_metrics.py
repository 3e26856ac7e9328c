"""What a log line says of a step, besides the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from neobert.data import Cursor, StepBatches, own_cursor
from neobert.data.lanes import marks_of
from neobert.data.report import SourceReport
from neobert.data.step_options import StepOptions
from neobert.objective_names import own
from neobert.recipe.trainer import TrainerOptions
from neobert.training.assemble import Parts
from neobert.training.evaluate import guess_accuracy
from neobert.training.gradient import norm_of

if TYPE_CHECKING:
    from neobert.training.loop import Position


def data_metrics(objective: str, parts: Parts, position: Position, data: StepBatches) -> dict[str, float]:
    """How far an objective is in its data; of several, how many steps were its too."""
    cursor, counts = own_cursor(position.cursor, objective), own(objective, position.source_tokens)
    metrics = {"train/epoch": float(data.epoch if objective == data.objective else cursor.epoch)}
    metrics |= mixture_metrics(parts.own_data.corpus.sources, counts, cursor)
    if not objective:
        return metrics
    metrics["train/steps"] = float(position.objective_steps[objective])
    return {name.replace("train/", f"train/{objective}/", 1): value for name, value in metrics.items()}


def mixture_metrics(sources: Sequence[SourceReport], tokens: Mapping[str, int], cursor: Cursor) -> dict[str, float]:
    """Of a mixture: each source's tokens trained on so far, how many passes over it that is (of a stream, those that
    are finished), and as ``train/epoch`` the passes over all of them together (with a stream, the least of all)."""
    if not sources:
        return {}
    metrics, passes = {}, []
    for source, mark in zip(sources, marks_of(cursor, len(sources)), strict=True):
        done = tokens.get(source.name, 0)
        passes.append(float(mark.epoch) if source.streaming else done / source.tokens)
        metrics[f"train/mix/{source.name}"] = float(done)
        metrics[f"train/mix_epoch/{source.name}"] = passes[-1]
    together = sum(tokens.values()) / max(1, sum(source.tokens for source in sources))
    metrics["train/epoch"] = min(passes) if any(source.streaming for source in sources) else together
    return metrics


def warmup_metrics(options: StepOptions, data: StepBatches) -> dict[str, float]:
    """What the step had of that which a warm-up grows; nothing of what none does."""
    metrics = {}
    if options.length_warmup is not None:
        metrics["train/max_seq_length"] = float(options.length_warmup.at(data.step))
    if options.batch_size_warmup is not None:
        metrics["train/micro_batches"] = float(len(data.micro_batches))
    return metrics


def faults_met(position: Position) -> dict[str, float]:
    """How many steps were skipped, and how often the run went back, if any."""
    counts = {"skipped_steps": len(position.guard.skipped), "rollbacks": len(position.guard.rollbacks)}
    return {f"train/{name}": float(count) for name, count in counts.items() if count}


def weight_norms(parts: Parts) -> dict[str, float]:
    """The norm of all weights of each role."""
    squares: dict[str, float] = {}
    for group in parts.groups:
        total = norm_of(p.detach().float() for p in group.parameters.values()).square()
        squares[group.role] = squares.get(group.role, 0.0) + float(total)
    return {f"train/weight_norm/{role}": math.sqrt(value) for role, value in squares.items()}


def train_accuracy(parts: Parts, data: StepBatches, trainer: TrainerOptions) -> dict[str, float]:
    """On the step's last micro-batch, after the update."""
    accuracy = guess_accuracy(parts, parts.to_device(data.micro_batches[-1].batch), trainer)
    # Of all ranks' micro-batches, the step's last one is the last rank's.
    last = parts.ranks.gather(None if accuracy is None else float(accuracy))[-1]
    return {} if last is None else {"train/accuracy": last}
