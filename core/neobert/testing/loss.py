"""What a loss promises.

Shapes: T tokens in the stream, M masked tokens, C hidden size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from neobert.batch import Batch, SequenceLayout, pad_batch
from neobert.testing.context import LENGTHS, as_options, build, make_sequences, make_tokenizer, text_context
from neobert.testing.embedding import check_embedding, check_losses_from, check_order, embedding_batch, make_examples
from neobert.testing.encoder import TinyEncoder
from neobert.testing.prediction import check_prediction
from neobert.testing.promises import require, require_all_close, require_close, require_equal

if TYPE_CHECKING:
    from neobert.interfaces import LossOutput

MakeBatch = Callable[[Sequence[Tensor]], Batch]
_TOLERANCE = 1e-8


def check_loss(
    options: Any,
    *,
    make_batch: MakeBatch | None = None,
    empty_batch: Batch | None = None,
    additive: bool | None = None,
) -> None:
    """Runs the loss in float64 over a tiny encoder, in eval mode; in train mode it may draw.

    A loss with ``embed`` or ``predict`` gets batches of examples with every field that the built-in losses of its kind
    have, any other one batches of masked tokens. ``make_batch`` turns sequences of ids into a batch for losses that
    need other fields, each sequence on its own; ``empty_batch`` is then a batch with nothing to learn from.
    ``additive=False`` (unset: what the options class says as ``divisible``) is for losses where sequences of a batch
    are compared with each other, so that its parts do not sum to it. Raises `AssertionError` for a broken promise.
    """
    options = as_options(options)
    setting = _make_setting(options)
    if additive is None:
        additive = getattr(options, "divisible", True)
    embeds = hasattr(setting.loss, "embed") or hasattr(setting.loss, "sentence_head")
    predicts = hasattr(setting.loss, "predict") or hasattr(setting.loss, "prediction_head")
    by_examples = embeds or predicts
    of_masks, of_examples = make_batch is None and not by_examples, make_batch is None and by_examples
    units: Sequence[Any] = make_examples() if of_examples else make_sequences(LENGTHS)
    make: Callable[[Any], Batch] = make_batch or (embedding_batch if of_examples else masked_batch)
    batch = make(units)
    _check_output(setting, batch)
    _check_needs(options, setting, batch)
    _check_registration(setting, batch)
    if embeds:
        check_embedding(setting.loss, setting.encoder, batch)
    if predicts:
        check_prediction(setting.loss, setting.encoder, batch, setting.run(batch))
    _check_padding(setting, batch)
    if additive:
        _check_splits(setting, make, units)
    if of_masks:
        empty_batch = _nothing_to_learn_from(setting)
    if of_examples:
        empty_batch = evolve(batch, fields={name: value[:0] for name, value in batch.fields.items()})
        check_order(setting.run_with_gradient, units)
    if hasattr(setting.loss, "losses_from"):
        check_losses_from(setting.loss, setting.encoder, batch, setting.run(batch))
    if empty_batch is not None:
        _check_empty(setting, empty_batch)
    if hasattr(setting.loss, "logits") or hasattr(setting.loss, "head_state"):
        _check_head(setting)
    _check_training(setting, batch)


def masked_batch(sequences: Sequence[Tensor]) -> Batch:
    """Masks every third token; which ones is a matter of each sequence alone."""
    positions: list[int] = []
    stream, start = torch.cat(list(sequences)), 0
    for sequence in sequences:
        positions += range(start, start + len(sequence), 3)
        start += len(sequence)
    masked = torch.tensor(positions)
    labels, input_ids = stream[masked], stream.clone()
    input_ids[masked] = 4
    layout = SequenceLayout.from_lengths(len(sequence) for sequence in sequences)
    return Batch(input_ids, layout, {"masked_positions": masked, "labels": labels})


@frozen
class _Setting:
    encoder: TinyEncoder
    loss: Any

    def run(self, batch: Batch) -> LossOutput:
        output: LossOutput = self.loss(self.encoder, batch)
        return output

    def run_with_gradient(self, batch: Batch) -> tuple[LossOutput, dict[str, Tensor]]:
        """The output, and the gradient of its total for every parameter of encoder and loss."""
        modules = {"encoder": self.encoder, "loss": self.loss}
        for module in modules.values():
            module.zero_grad(set_to_none=True)
        output = self.run(batch)
        output.total.backward()  # type: ignore[no-untyped-call]
        gradients = {
            f"{owner}.{name}": torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for owner, module in modules.items()
            for name, p in module.named_parameters()
        }
        return output, gradients


def _make_setting(options: Any) -> _Setting:
    tokenizer = make_tokenizer()
    encoder = TinyEncoder(len(tokenizer))
    context = text_context(tokenizer=tokenizer, encoder=encoder)
    loss = build("loss", options, context)
    require(isinstance(loss, nn.Module), "a loss is an nn.Module", found=type(loss))
    return _Setting(encoder, loss.double().eval())


def _check_output(setting: _Setting, batch: Batch) -> None:
    ids, output = batch.input_ids.clone(), setting.run(batch)
    for name in ("total", "count"):
        value = getattr(output, name)
        scalar = isinstance(value, Tensor) and value.ndim == 0
        require(scalar, f"{name} is a scalar tensor", found=getattr(value, "shape", type(value)))
    require(output.total.requires_grad, "total has a gradient")
    require(not output.count.requires_grad, "count has no gradient")
    output, gradients = setting.run_with_gradient(batch)
    require(float(output.count) > 0, "a batch with something to learn from counts it", found=output.count)
    require(bool(output.total.isfinite()), "total is finite", found=output.total)
    taken = sorted({"loss", "perplexity"} & output.metrics.keys())
    require(not taken, "the core logs `loss` and `perplexity` itself: a metric has another name", found=taken)
    for name, value in output.metrics.items():
        scalar = isinstance(value, Tensor) and value.ndim == 0 and not value.requires_grad
        require(scalar, f"metric {name} is a detached scalar tensor", found=value)
    reached = any(bool(g.any()) for name, g in gradients.items() if name.startswith("encoder."))
    require(reached, "the loss sends a gradient to the encoder")
    require_equal(batch.input_ids, ids, "a loss does not write to its batch")
    again, same = setting.run_with_gradient(batch)
    require_equal(again.total.detach(), output.total.detach(), "the same batch gives the same total")
    require_all_close(same, gradients, "the same batch gives the same gradient", tolerance=_TOLERANCE)


def _check_needs(options: Any, setting: _Setting, batch: Batch) -> None:
    """A recipe is checked by what a loss states, so it is all that it cannot do without."""
    needs = getattr(options, "needs_fields", batch.fields.keys())
    fields = {name: value for name, value in batch.fields.items() if name in needs}
    try:
        setting.run(evolve(batch, fields=fields))
    except Exception as error:
        require(False, "a loss needs no field that needs_fields leaves out", given=needs, found=repr(error))


def _check_training(setting: _Setting, batch: Batch) -> None:
    """In training, what is drawn comes from torch's generator: seeded alike, a step is the same."""
    setting.loss.train()
    totals = []
    for _ in range(2):
        torch.manual_seed(5)
        totals.append(setting.run(batch).total.detach())
    promise = "in train mode the total is a function of the batch and torch's generator"
    require_equal(totals[1], totals[0], promise, given="the same seed twice")


def _check_registration(setting: _Setting, batch: Batch) -> None:
    setting.run(batch)
    mine = {id(parameter) for parameter in setting.encoder.parameters()}
    shared = [name for name, parameter in setting.loss.named_parameters() if id(parameter) in mine]
    promise = "a loss registers neither the encoder nor its weights: it gets the encoder when it is called"
    require(not shared, promise, found=shared)
    buffers = {value.data_ptr() for value in setting.encoder.state_dict().values()}
    copied = [name for name, value in setting.loss.state_dict().items() if value.data_ptr() in buffers]
    require(not copied, promise, found=copied)


def _check_splits(setting: _Setting, make_batch: Callable[[Any], Batch], units: Sequence[Any]) -> None:
    """Parts of a batch sum to the whole: then sums over micro-batches and ranks are right."""
    whole, gradients = setting.run_with_gradient(make_batch(units))
    for size in (1, 2, 4):
        parts = [units[start : start + size] for start in range(0, len(units), size)]
        outputs, sums = [], {name: torch.zeros_like(value) for name, value in gradients.items()}
        for part in parts:
            output, found = setting.run_with_gradient(make_batch(part))
            outputs.append(output)
            sums = {name: value + found[name] for name, value in sums.items()}
        given = f"{len(units)} sequences or examples whole, and {size} at a time"
        count = sum(float(output.count) for output in outputs)
        promise = "the counts of a batch's parts sum to its count"
        require(count == float(whole.count), promise, given=given, found=f"{count}, whole {float(whole.count)}")
        total = torch.stack([output.total.detach() for output in outputs]).sum()
        promise = "total is a sum: the totals of a batch's parts sum to it"
        require_close(total, whole.total.detach(), promise, given=given, tolerance=_TOLERANCE)
        promise = "the gradients of a batch's parts sum to its gradient"
        require_all_close(sums, gradients, promise, given=given, tolerance=_TOLERANCE)
        for name, value in whole.metrics.items():
            metric = torch.stack([torch.as_tensor(o.metrics[name]).double() for o in outputs]).sum()
            promise = f"metric {name} is a sum: those of a batch's parts sum to it"
            require_close(metric, value.double(), promise, given=given, tolerance=_TOLERANCE)


def _check_padding(setting: _Setting, batch: Batch) -> None:
    """The padding sequence at the end of a short stream is seen by nothing."""
    plain, gradients = setting.run_with_gradient(batch)
    for pad_token_id in (0, 7):
        padded = pad_batch(batch, batch.layout.num_tokens + 6, pad_token_id)
        output, found = setting.run_with_gradient(padded)
        given = f"6 tokens of padding with id {pad_token_id}"
        promise = "the padding sequence changes neither total, count nor gradient"
        require_close(output.total.detach(), plain.total.detach(), promise, given=given, tolerance=_TOLERANCE)
        require(float(output.count) == float(plain.count), promise, given=given, found=output.count)
        require_all_close(found, gradients, promise, given=given, tolerance=_TOLERANCE)


def _check_empty(setting: _Setting, batch: Batch) -> None:
    output, gradients = setting.run_with_gradient(batch)
    given = "a batch with nothing to learn from"
    require(float(output.count) == 0, "count is 0 where nothing counts", given=given, found=output.count)
    require(
        float(output.total.detach()) == 0,
        "total is a finite 0 where nothing counts",
        given=given,
        found=output.total,
    )
    for name, value in gradients.items():
        require(not bool(value.any()), f"the gradient of {name} is 0 too", given=given, found=value)


def _check_head(setting: _Setting) -> None:
    loss, encoder = setting.loss, setting.encoder
    both = hasattr(loss, "logits") and hasattr(loss, "head_state")
    require(both, "a loss with a vocabulary head has both `logits` and `head_state`")
    hidden_MC = torch.randn(5, encoder.hidden_size, generator=torch.Generator().manual_seed(0)).double()
    logits_MV = loss.logits(encoder, hidden_MC)
    expected = (5, encoder.vocab_size)
    require(tuple(logits_MV.shape) == expected, "logits are (M, V)", given=expected, found=logits_MV.shape)
    none = loss.logits(encoder, hidden_MC[:0])
    require(tuple(none.shape) == (0, encoder.vocab_size), "no hidden state gives no logits", found=none.shape)
    state = dict(loss.head_state())
    require({"weight"} <= state.keys() <= {"weight", "bias"}, "head_state is weight and bias", found=sorted(state))
    weight, bias = state["weight"], state.get("bias", torch.zeros(encoder.vocab_size).double())
    shapes = (tuple(weight.shape), tuple(bias.shape))
    wanted = ((encoder.vocab_size, encoder.hidden_size), (encoder.vocab_size,))
    require(shapes == wanted, "head_state's weight is (V, C) and its bias (V,)", given=wanted, found=shapes)
    promise = "logits are what head_state says: hidden weight^T + bias"
    require_close(logits_MV, hidden_MC @ weight.T + bias, promise, tolerance=_TOLERANCE)


def _nothing_to_learn_from(setting: _Setting) -> Batch | None:
    """A batch with no masked token; None for a loss that learns from tokens whether they are masked or not."""
    masked = masked_batch(make_sequences((4, 1)))
    batch = evolve(masked, fields={name: value[:0] for name, value in masked.fields.items()})
    (total, count), (same_total, same_count) = (
        (float(output.total.detach()), float(output.count)) for output in map(setting.run, (masked, batch))
    )
    return None if (total, count) == (same_total, same_count) else batch
