"""What a run's data comes to, for its folder: counts, lengths and sources of each objective, as JSON values."""

from __future__ import annotations

from typing import Any

from attrs import asdict

from neobert.data import EvaluationData, TrainingData
from neobert.data.lengths import Lengths
from neobert.training.data_parts import DataParts


def describe_data(parts: DataParts) -> dict[str, Any]:
    """``{"objectives": {NAME: {"training": ..., "evaluation": ...}}}``; of a run with one, its name is empty."""
    return {"objectives": {name: _of_objective(own) for name, own in parts.each.items()}}


def _of_objective(parts: DataParts) -> dict[str, Any]:
    held_out = parts.evaluation_data
    return {
        "training": _training(parts.own_data),
        "evaluation": None if held_out is None else _evaluation(held_out),
    }


def _training(data: TrainingData) -> dict[str, Any]:
    report = data.report
    counts = ("documents", "tokens", "sequences", "empty", "split", "truncated", "dropped", "trained_tokens", "fill")
    sources = ("name", "share", "documents", "tokens", "streaming")
    return {
        "noun": _noun(data),
        "streaming": report.streaming,
        **{name: getattr(report, name) for name in counts},
        "sources": [{name: getattr(source, name) for name in sources} for source in report.sources],
        "lengths": _lengths(data.corpus.cut.lengths),
    }


def _evaluation(data: EvaluationData) -> dict[str, Any]:
    lengths = data.documents.lengths
    return {"noun": _noun(data), "documents": int((lengths > 0).sum()), "lengths": _lengths(lengths)}


def _lengths(lengths: Any) -> dict[str, Any] | None:
    found = Lengths.of(lengths)
    return None if found is None else asdict(found)


def _noun(data: TrainingData | EvaluationData) -> str:
    return "document" if data.counts is None else "example"
