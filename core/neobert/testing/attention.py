"""What an attention backend promises.

Shapes: T tokens in the stream, H heads, D head dim, L tokens of one sequence.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

import torch
from attrs import frozen

from neobert.batch import SequenceLayout
from neobert.capabilities import Capabilities, Target, capabilities_of
from neobert.testing.context import as_options, build, per_sequence, text_context
from neobert.testing.promises import require, require_close, require_equal
from neobert.testing.reference import plain_attention

if TYPE_CHECKING:
    from torch import Tensor

    from neobert.interfaces import AttentionBackend

HEADS, HEAD_DIM = 3, 16
LAYOUTS = ((1,), (7,), (1, 1, 1), (5, 1, 9, 3), (33, 2, 17, 2, 2, 64), (130, 128, 1))
WINDOWS = (1, 3, 1000)


def check_attn_backend(options: Any) -> None:
    """Runs every check on every device and dtype that the backend claims and this machine has.

    Raises `AssertionError` for a broken promise, `unittest.SkipTest` where none of its devices is here.
    """
    options = as_options(options)
    stated = capabilities_of(options)
    devices = [torch.device(device) for device in stated.devices if _is_here(device)]
    if not devices:
        msg = f"runs on {', '.join(stated.devices)}, and this machine has none of them"
        raise SkipTest(msg)
    for device in devices:
        for name in stated.dtypes:
            dtype = getattr(torch, name, None)
            if not isinstance(dtype, torch.dtype):
                msg = f"capabilities.dtypes names torch dtypes\n  found: {name!r}"
                raise AssertionError(msg)
            if device.type == "mps" and dtype == torch.float64:
                continue  # no Apple GPU has it
            backend = build("attn_backend", options, text_context(device=device, compute_dtype=name))
            capabilities = capabilities_of(options, Target.of(device, name))
            _check_on(_Setting(backend, capabilities, device, dtype))


@frozen
class _Setting:
    backend: AttentionBackend
    capabilities: Capabilities
    device: torch.device
    dtype: torch.dtype

    @property
    def trains(self) -> bool:
        return self.device.type in self.capabilities.train_devices

    def about(self, lengths: tuple[int, ...], **more: Any) -> str:
        words = [f"lengths {lengths}", str(self.dtype), str(self.device)]
        return ", ".join(words + [f"{key}={value}" for key, value in more.items()])

    def inputs(self, lengths: tuple[int, ...], seed: int = 0) -> list[Tensor]:
        """q, k, v (T, H, D)."""
        generator = torch.Generator().manual_seed(seed)
        shape = (sum(lengths), HEADS, HEAD_DIM)
        return [
            torch.randn(shape, generator=generator, dtype=torch.float64).to(self.device, self.dtype) for _ in range(3)
        ]

    def run(self, qkv: list[Tensor], lengths: tuple[int, ...], **keywords: Any) -> Tensor:
        layout = SequenceLayout.from_lengths(lengths, self.device)
        q, k, v = qkv
        return self.backend(q, k, v, layout, **{"scale": HEAD_DIM**-0.5, **keywords})

    def run_with_gradient(
        self, qkv: list[Tensor], lengths: tuple[int, ...], upstream: Tensor, **keywords: Any
    ) -> list[Tensor]:
        """The output, and the gradients of q, k and v for an upstream gradient."""
        leaves = [tensor.detach().clone().requires_grad_() for tensor in qkv]
        out = self.run(leaves, lengths, **keywords)
        out.backward(upstream)  # type: ignore[no-untyped-call]
        return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def _check_on(setting: _Setting) -> None:
    windows = (None, *WINDOWS) if setting.capabilities.window else (None,)
    for lengths in LAYOUTS:
        _check_output(setting, lengths)
        for window in windows:
            _check_packed_is_alone(setting, lengths, window)
            _check_no_leak(setting, lengths, window)
            if setting.capabilities.exact:
                _check_is_softmax(setting, lengths, window)
    _check_strided(setting)
    _check_window(setting)
    _check_dropout(setting)


def _check_output(setting: _Setting, lengths: tuple[int, ...]) -> None:
    qkv = setting.inputs(lengths)
    before = [tensor.clone() for tensor in qkv]
    out, given = setting.run(qkv, lengths), setting.about(lengths)
    seen = (tuple(out.shape), out.dtype, out.device)
    expected = (tuple(qkv[0].shape), qkv[0].dtype, qkv[0].device)
    require(seen == expected, "the output has q's shape (T, H, D), dtype and device", given=given, found=seen)
    require(bool(out.isfinite().all()), "the output of finite inputs is finite", given=given)
    for name, tensor, copy in zip("qkv", qkv, before, strict=True):
        require_equal(tensor, copy, f"{name} is not written to", given=given)
    require_close(setting.run(qkv, lengths), out, "the same inputs give the same output", given=given)


def _check_is_softmax(setting: _Setting, lengths: tuple[int, ...], window: int | None) -> None:
    keywords = {} if window is None else {"window": window}
    qkv = setting.inputs(lengths)
    reference = partial(plain_attention, lengths=lengths, window=window)
    for scale in (HEAD_DIM**-0.5, 0.6):
        given = setting.about(lengths, window=window, scale=scale)
        found = setting.run(qkv, lengths, scale=scale, **keywords)
        expected = reference(*qkv, scale=scale)
        require_close(found, expected, "an exact backend computes softmax(scale * q k^T) v", given=given)
    if setting.trains:
        upstream = setting.inputs(lengths, seed=1)[0]
        gradients = setting.run_with_gradient(qkv, lengths, upstream, **keywords)[1:]
        wide = [tensor.double().requires_grad_() for tensor in qkv]
        out = reference(*wide, scale=HEAD_DIM**-0.5)
        expected_gradients = torch.autograd.grad(out, wide, upstream.double())
        for name, found, expected in zip("qkv", gradients, expected_gradients, strict=True):
            promise = f"the gradient of {name} is that of softmax(scale * q k^T) v"
            require_close(found, expected, promise, given=setting.about(lengths, window=window))


def _check_packed_is_alone(setting: _Setting, lengths: tuple[int, ...], window: int | None) -> None:
    keywords = {} if window is None else {"window": window}
    qkv, upstream = setting.inputs(lengths), setting.inputs(lengths, seed=1)[0]
    names = ["output"]
    if setting.trains:
        packed = setting.run_with_gradient(qkv, lengths, upstream, **keywords)
        names += ["gradient of q", "gradient of k", "gradient of v"]
    else:
        packed = [setting.run(qkv, lengths, **keywords)]
    pieces = zip(*(per_sequence(tensor, lengths) for tensor in (*qkv, upstream)), strict=True)
    for index, (length, (*alone, up)) in enumerate(zip(lengths, pieces, strict=True)):
        if setting.trains:
            single = setting.run_with_gradient(alone, (length,), up, **keywords)
        else:
            single = [setting.run(alone, (length,), **keywords)]
        for name, whole, part in zip(names, packed, single, strict=True):
            require_close(
                per_sequence(whole, lengths)[index],
                part,
                f"the {name} of a sequence is the same packed and alone",
                given=setting.about(lengths, window=window, sequence=index),
            )


def _check_no_leak(setting: _Setting, lengths: tuple[int, ...], window: int | None, **more: Any) -> None:
    """Nothing of one sequence reaches another: neither a change of its values, nor a gradient."""
    keywords = more if window is None else {**more, "window": window}
    qkv = setting.inputs(lengths)
    before = setting.run(qkv, lengths, **keywords) if not more else None
    starts = [sum(lengths[:index]) for index in range(len(lengths))]
    for index in sorted({0, len(lengths) // 2, len(lengths) - 1}):
        inside = slice(starts[index], starts[index] + lengths[index])
        outside = torch.ones(sum(lengths), dtype=torch.bool, device=setting.device)
        outside[inside] = False
        given = setting.about(lengths, window=window, sequence=index, **more)
        if before is not None:
            changed = [tensor.clone() for tensor in qkv]
            for tensor in changed:
                tensor[inside] = tensor[inside] * 30 + 3
            after = setting.run(changed, lengths, **keywords)
            promise = "what one sequence holds changes no other's output"
            require_close(after[outside], before[outside], promise, given=given)
        if setting.trains:
            upstream = torch.zeros_like(qkv[0])
            upstream[inside] = 1.0
            gradients = setting.run_with_gradient(qkv, lengths, upstream, **keywords)[1:]
            for name, gradient in zip("qkv", gradients, strict=True):
                promise = f"the output of one sequence gives no gradient to another's {name}"
                zero = torch.zeros_like(gradient[outside])
                require_close(gradient[outside], zero, promise, given=given, tolerance=1e-12)


def _check_strided(setting: _Setting) -> None:
    """q, k and v as a fused projection gives them: views into one tensor."""
    lengths = (5, 1, 9)
    qkv = setting.inputs(lengths)
    expected = setting.run(qkv, lengths)
    given = setting.about(lengths)
    fused = torch.stack(qkv, dim=2)
    interleaved = torch.stack(qkv, dim=-1)
    for views in (list(fused.unbind(2)), list(interleaved.unbind(-1))):
        found = setting.run(views, lengths)
        require_close(found, expected, "q, k and v need not be contiguous", given=given)


def _check_window(setting: _Setting) -> None:
    lengths = (40, 3)
    qkv = setting.inputs(lengths)
    given = setting.about(lengths, window=2)
    if not setting.capabilities.window:
        _require_refusal(setting, qkv, lengths, "window", 2)
        return
    far = [tensor.clone() for tensor in qkv]
    for tensor in far:
        tensor[10] = tensor[10] * 30 + 3
    before, after = (setting.run(tensors, lengths, window=2) for tensors in (qkv, far))
    near = torch.zeros(sum(lengths), dtype=torch.bool, device=setting.device)
    near[8:13] = True
    promise = "window=2: a token sees only two tokens on each side"
    require_close(after[~near], before[~near], promise, given=given)
    for place in (8, 12):
        moved = float((after[place] - before[place]).abs().max())
        require(moved > 0, "window=2: a token sees the second token on either side", given=given, found=moved)
    whole = setting.run(qkv, lengths)
    wide = setting.run(qkv, lengths, window=sum(lengths))
    require_close(wide, whole, "a window over the whole sequence changes nothing", given=given)


def _check_dropout(setting: _Setting) -> None:
    lengths = (24, 1, 9)
    qkv = setting.inputs(lengths)
    given = setting.about(lengths, dropout_p=0.5)
    if not setting.capabilities.dropout:
        _require_refusal(setting, qkv, lengths, "dropout_p", 0.5)
        return
    plain = setting.run(qkv, lengths)
    draws = []
    for seed in (*range(64), 0):
        torch.manual_seed(seed)
        draws.append(setting.run(qkv, lengths, dropout_p=0.5))
    require_equal(draws[-1], draws[0], "dropout is a function of torch's generator alone", given=given)
    require(not torch.equal(draws[0], draws[1]), "dropout_p=0.5 drops, another seed drops others", given=given)
    mean = torch.stack([draw.double() for draw in draws[:-1]]).mean(0)
    spread = float((mean - plain.double()).pow(2).mean().sqrt())
    single = float((draws[0].double() - plain.double()).pow(2).mean().sqrt())
    promise = "dropout scales what it keeps, so that the mean over draws is the output without it"
    require(spread < 0.3 * single, promise, given=given, found=f"off by {spread:.3g}, one draw by {single:.3g}")
    _check_no_leak(setting, lengths, None, dropout_p=0.5)


def _require_refusal(setting: _Setting, qkv: list[Tensor], lengths: tuple[int, ...], keyword: str, value: Any) -> None:
    """Asked for what it cannot do, a backend raises: going on without would be silence."""
    try:
        setting.run(qkv, lengths, **{keyword: value})
    except Exception:
        return
    given = setting.about(lengths, **{keyword: value})
    promise = f"a backend without `{keyword}` in its capabilities raises when it is asked for it"
    require(False, promise, given=given, found="an output, as if nothing had been asked")


def _is_here(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_available()
    if device == "mps":
        return torch.backends.mps.is_available()
    return device == "cpu"
