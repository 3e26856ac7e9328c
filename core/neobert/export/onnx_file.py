"""``onnx/model.onnx`` beside an export: written, run by onnxruntime, and compared, before it counts.

Shapes: B rows, L tokens of each, padding included.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neobert import products
from neobert.abilities import has_head, loss_with_head, predicts
from neobert.batch import SequenceLayout
from neobert.context import BuildContext
from neobert.errors import UserError
from neobert.export.compare import reference_encoder, samples
from neobert.export.padded import BACKEND, PaddedModel
from neobert.export.plan import ExportPlan
from neobert.recipe import Recipe

FILE = "onnx/model.onnx"
"""Where sentence-transformers, optimum and transformers.js look for it."""
TOLERANCE = 1e-4
"""Largest difference, relative to the largest output."""
NEEDED = ("onnx", "onnxruntime", "onnxscript")
LARGEST = 1_900_000_000
"""Bytes of weights in the file itself: protobuf has no more than two gigabytes. Others lie beside it."""
Arrays = Mapping[str, NDArray[Any]]


def require_onnx() -> None:
    """Raises UserError where a library is missing, before any work."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        msg = f"an ONNX file needs {', '.join(missing)}, which is not installed\n  pip install 'neobert[onnx]'"
        raise UserError(msg)


def add_onnx(
    directory: Path,
    plan: ExportPlan,
    encoder: Any,
    losses: Mapping[str, Any],
    recipe: Recipe,
    context: BuildContext,
) -> str:
    """Writes the file into an export's folder; returns what there is to say of it.

    Inputs ``input_ids`` and ``attention_mask`` (B, L) int64, any B and L. Outputs ``logits`` where a loss has a
    vocabulary head, or (B, K) where the main one predicts, else ``last_hidden_state``; of a loss that makes embeddings
    ``sentence_embedding`` too. Raises UserError for a model that cannot be traced, RuntimeError where onnxruntime
    computes something else.
    """
    loss, main = loss_with_head(losses), losses[plan.objective]
    prediction = main.prediction_head() if predicts(main) else None
    outputs: tuple[str, ...] = ("logits",) if has_head(loss) or prediction is not None else ("last_hidden_state",)
    if plan.sentence is not None:
        outputs = tuple(dict.fromkeys(("last_hidden_state", *outputs, "sentence_embedding")))
    padded = reference_encoder(encoder, recipe, context, BACKEND)
    guessing = loss if "logits" in outputs and prediction is None else None
    model = PaddedModel(padded, outputs, plan.sentence, guessing, prediction).eval()
    (directory / FILE).parent.mkdir()
    _write(directory / FILE, model, context, recipe.model.name)
    reference = reference_encoder(encoder, recipe, context)
    _compare(directory / FILE, outputs, reference, loss, main, context)
    return f"{FILE} gives {' and '.join(outputs)}, the run's own as onnxruntime {version('onnxruntime')} computes them"


def _write(file: Path, model: PaddedModel, context: BuildContext, name: str) -> None:
    ids = torch.zeros(2, min(7, context.max_seq_length), dtype=torch.int64, device=context.device)
    bytes_of_weights = sum(parameter.nbytes for parameter in model.parameters())
    sizes = {0: "batch", 1: "length"}
    try:
        # oneDNN's products are operators of ours, which nobody else has.
        with _quiet(), torch.no_grad(), products.chosen("torch"):
            program = torch.onnx.export(
                model,
                (ids, torch.ones_like(ids)),
                input_names=["input_ids", "attention_mask"],
                output_names=list(model.outputs),
                dynamic_shapes={"input_ids": sizes, "attention_mask": sizes},
                dynamo=True,
                verbose=False,
            )
            assert program is not None
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # where in which file of this machine it is computed
            program.save(file, external_data=bytes_of_weights > LARGEST)
    except Exception as error:  # whatever a model's code and torch's tracing have against each other
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), "no reason given")
        msg = f"model {name!r} cannot be written as ONNX: torch cannot trace it\n{type(cause).__name__}: {reason}"
        raise UserError(msg) from error


def _compare(
    file: Path, outputs: tuple[str, ...], encoder: Any, with_head: Any, main: Any, context: BuildContext
) -> None:
    """Sequences of several lengths: all in one batch, behind each other's padding, and each alone in its row."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    sequences = samples(encoder, context)
    wanted = [_expected(outputs, encoder, with_head, main, ids) for ids in sequences]
    for rows in (range(len(sequences)), *((row,) for row in range(len(sequences)))):
        batch = _padded([sequences[row] for row in rows], context.tokenizer.pad_token_id or 0)
        found = dict(zip(outputs, session.run(list(outputs), batch), strict=True))
        for place, row in enumerate(rows):
            _refuse_other(wanted[row], {name: values[place] for name, values in found.items()})


def _expected(outputs: tuple[str, ...], encoder: Any, with_head: Any, main: Any, ids: Tensor) -> Arrays:
    """Of one sequence on the token stream: (L, C), (L, V) or (K,), (E,)."""
    layout = SequenceLayout.from_lengths([len(ids)], ids.device)
    with torch.no_grad():
        hidden = encoder(ids, layout)
        found = {"last_hidden_state": hidden}
        if predicts(main):
            found["logits"] = main.predict(encoder, ids, layout)[0]
        elif "logits" in outputs:
            found["logits"] = with_head.logits(encoder, hidden)
        if "sentence_embedding" in outputs:
            found["sentence_embedding"] = main.embed(encoder, ids, layout)[0]
    return {name: found[name].cpu().numpy() for name in outputs}


def _padded(sequences: list[Tensor], pad_id: int) -> Arrays:
    """(B, L) each."""
    longest = max(map(len, sequences))
    ids = np.full((len(sequences), longest), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence.cpu().numpy()
        mask[row, : len(sequence)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _refuse_other(wanted: Arrays, found: Arrays) -> None:
    for name, ours in wanted.items():
        theirs = found[name] if name == "sentence_embedding" else found[name][: len(ours)]
        difference = float(np.abs(ours - theirs).max() / max(float(np.abs(ours).max()), 1e-6))
        if not difference <= TOLERANCE:
            msg = f"{FILE} does not compute what the run does: {name} differs by {difference:.2e} of its size"
            raise RuntimeError(msg)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch tells its own developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
