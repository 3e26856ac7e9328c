"""What an encoder promises.

Shapes: T tokens in the stream, M wanted positions, C hidden size.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from attrs import frozen
from torch import Tensor, nn

from neobert.batch import SequenceLayout
from neobert.capabilities import Capabilities
from neobert.context import FusedMatrix
from neobert.parts import part_kind
from neobert.testing.context import (
    LENGTHS,
    as_options,
    build,
    make_sequences,
    make_tokenizer,
    per_sequence,
    text_context,
)
from neobert.testing.promises import require, require_all_close, require_close, require_equal


def check_model(options: Any) -> None:
    """Builds the encoder for a vocabulary of about 120 tokens: give it options of a small one.

    Runs in float64 where its attention backends can, else in float32. Raises `AssertionError` for a broken
    promise.
    """
    options = as_options(options)
    setting = _make_setting(options)
    _check_attributes(setting)
    _check_fused_matrices(setting)
    setting.encoder.eval()
    _check_output(setting)
    _check_keep(setting)
    _check_packed_is_alone(setting)
    _check_no_leak(setting)
    _check_state_dict(setting)
    _check_export(setting)
    setting.encoder.train()
    _check_gradients(setting)
    _check_dropout(setting)


@frozen
class _Setting:
    options: Any
    encoder: Any
    dtype: torch.dtype
    vocab_size: int

    @property
    def tolerance(self) -> float:
        return 1e-9 if self.dtype == torch.float64 else 1e-4

    def build(self, seed: int = 0) -> Any:
        context = text_context(vocab_size=self.vocab_size, seed=seed)
        return build("model", self.options, context).to(self.dtype)

    def run(self, sequences: Sequence[Tensor], keep: Tensor | None = None) -> Tensor:
        layout = SequenceLayout.from_lengths(len(sequence) for sequence in sequences)
        ids = torch.cat(list(sequences))
        hidden: Tensor = self.encoder(ids, layout) if keep is None else self.encoder(ids, layout, keep)
        return hidden

    def gradients(self, outputs: Sequence[Tensor], upstream: Sequence[Tensor]) -> dict[str, Tensor]:
        """Of every parameter, summed over outputs."""
        self.encoder.zero_grad(set_to_none=True)
        for output, up in zip(outputs, upstream, strict=True):
            output.backward(up)  # type: ignore[no-untyped-call]
        return {
            name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
            for name, p in self.encoder.named_parameters()
        }

    def upstream(self, rows: int, seed: int = 1) -> Tensor:
        shape = (rows, self.encoder.hidden_size)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)


def _make_setting(options: Any) -> _Setting:
    dtype = torch.float64 if "float64" in _attention_dtypes(options) else torch.float32
    setting = _Setting(options, None, dtype, len(make_tokenizer()) + 3)
    return attrs.evolve(setting, encoder=setting.build())


def _attention_dtypes(options: Any) -> set[str]:
    """Dtypes that every attention backend inside these options can do."""
    dtypes = set(Capabilities().dtypes)
    for attribute in attrs.fields(type(options)):
        if part_kind(attribute) == "attn_backend":
            value = getattr(options, attribute.name)
            if isinstance(value, Mapping):
                value = tuple(value.values())
            parts = value if isinstance(value, tuple) else (value,)
            for part in parts:
                dtypes &= set(getattr(part.options, "capabilities", Capabilities()).dtypes)
    return dtypes


def _check_attributes(setting: _Setting) -> None:
    encoder = setting.encoder
    require(isinstance(encoder, nn.Module), "an encoder is an nn.Module", found=type(encoder))
    for name, kind in (
        ("hidden_size", int),
        ("vocab_size", int),
        ("input_embedding", nn.Embedding),
        ("blocks", nn.ModuleList),
    ):
        value = getattr(encoder, name, None)
        require(isinstance(value, kind), f"an encoder has `{name}`, of type {kind.__name__}", found=type(value))
    promise = "vocab_size is the context's, and input_embedding is (vocab_size, hidden_size)"
    found = (encoder.vocab_size, tuple(encoder.input_embedding.weight.shape))
    require(found == (setting.vocab_size, (setting.vocab_size, encoder.hidden_size)), promise, found=found)
    weights = list(encoder.blocks.parameters())
    require(len(weights) > 0, "`blocks` hold the repeated layers, with their weights")


def _check_fused_matrices(setting: _Setting) -> None:
    parameters = dict(setting.encoder.named_parameters(remove_duplicate=False))
    for name, fused in getattr(setting.encoder, "fused_matrices", {}).items():
        known = "`fused_matrices` is a mapping of the encoder's parameter names to neobert.FusedMatrix"
        require(name in parameters and isinstance(fused, FusedMatrix), known, found=(name, fused))
        pieces, rows = fused.groups * len(fused.parts), parameters[name].shape[0]
        require(rows % pieces == 0, "the parts of a fused matrix have equally many rows", found=(name, rows, fused))


def _check_output(setting: _Setting) -> None:
    for lengths in (LENGTHS, (1,), (1, 1), (32,)):
        hidden = setting.run(make_sequences(lengths))
        expected = (sum(lengths), setting.encoder.hidden_size)
        shape, given = tuple(hidden.shape), f"lengths {lengths}"
        require(shape == expected, "an encoder returns (T, C)", given=given, found=shape)
        require(bool(hidden.isfinite().all()), "hidden states are finite", given=given)
        again = setting.run(make_sequences(lengths))
        require_equal(again, hidden, "in eval mode the same ids give the same hidden states", given=given)


def _check_keep(setting: _Setting) -> None:
    sequences = make_sequences()
    full = setting.run(sequences)
    for keep in ([0], [27, 3, 11, 5, 6, 20], list(range(len(full))), []):
        positions = torch.tensor(keep, dtype=torch.int64)
        found = setting.run(sequences, positions)
        promise = "with keep the rows are those of the full output, in keep's order"
        require_close(found, full[positions], promise, given=f"keep={keep}", tolerance=setting.tolerance)
        if keep:
            upstream = setting.upstream(len(keep))
            kept = setting.gradients([found], [upstream])
            whole = setting.gradients([setting.run(sequences)[positions]], [upstream])
            promise = "with keep the gradients are those of the full output's rows"
            require_all_close(kept, whole, promise, given=f"keep={keep}", tolerance=setting.tolerance)


def _check_packed_is_alone(setting: _Setting) -> None:
    sequences = make_sequences()
    packed = setting.run(sequences)
    alone = [setting.run([sequence]) for sequence in sequences]
    given = f"lengths {LENGTHS}"
    promise = "a sequence's hidden states are the same packed and alone"
    require_close(packed, torch.cat(alone), promise, given=given, tolerance=setting.tolerance)
    upstream = setting.upstream(len(packed))
    found = setting.gradients([packed], [upstream])
    expected = setting.gradients(alone, per_sequence(upstream, LENGTHS))
    promise = "the gradient of packed sequences is the sum of theirs alone"
    require_all_close(found, expected, promise, given=given, tolerance=setting.tolerance)


def _check_no_leak(setting: _Setting) -> None:
    sequences = make_sequences()
    before = per_sequence(setting.run(sequences), LENGTHS)
    for changed in (0, 2, len(sequences) - 1):
        others = make_sequences(seed=9)
        mixed = [others[i] if i == changed else sequence for i, sequence in enumerate(sequences)]
        after = per_sequence(setting.run(mixed), LENGTHS)
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            if index != changed:
                promise = "what one sequence holds changes no other's hidden states"
                given = f"lengths {LENGTHS}, sequence {changed} changed, {index} compared"
                require_close(new, old, promise, given=given, tolerance=setting.tolerance)


def _check_state_dict(setting: _Setting) -> None:
    """Weights in a state dict are all that a model is: another one that loads them computes the same."""
    other = setting.build(seed=1)
    state = {name: value.clone() for name, value in setting.encoder.state_dict().items()}
    other.load_state_dict(state, strict=True)
    other.eval()
    sequences = make_sequences()
    found = attrs.evolve(setting, encoder=other).run(sequences)
    require_equal(found, setting.run(sequences), "a model that loads another's state_dict computes the same")
    again = setting.build().state_dict()
    for name, value in setting.build().state_dict().items():
        require_equal(again[name], value, f"the same seed gives the same weights ({name})")


def _check_export(setting: _Setting) -> None:
    if not hasattr(setting.encoder, "export"):
        return
    before = {name: value.clone() for name, value in setting.encoder.state_dict().items()}
    config, tensors = setting.encoder.export()
    json.dumps(dict(config))
    wrong = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    require(bool(tensors) and not wrong, "export gives (config, {name: tensor})", found=wrong or "no tensor")
    for name, value in setting.encoder.state_dict().items():
        require_equal(value, before[name], f"export leaves the weights as they are ({name})")


def _check_gradients(setting: _Setting) -> None:
    hidden = setting.run(make_sequences())
    gradients = setting.gradients([hidden], [setting.upstream(len(hidden))])
    still = [name for name, p in setting.encoder.named_parameters() if p.requires_grad and p.grad is None]
    require(not still, "every trainable parameter takes part, as data parallelism needs", found=still)
    wrong = [name for name, value in gradients.items() if not bool(value.isfinite().all())]
    require(not wrong, "gradients are finite", found=wrong)
    require(bool(setting.encoder.input_embedding.weight.grad.any()), "input_embedding embeds the input")


def _check_dropout(setting: _Setting) -> None:
    """In training, what is drawn comes from torch's generator: seeded alike, a step is the same."""
    sequences = make_sequences()
    outputs = []
    for _ in range(2):
        torch.manual_seed(5)
        outputs.append(setting.run(sequences).detach())
    promise = "in train mode the output is a function of the inputs and torch's generator"
    require_equal(outputs[1], outputs[0], promise, given="the same seed twice")
