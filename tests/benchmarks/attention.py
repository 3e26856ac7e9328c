"""Speed of each attention backend that runs here, over sequence lengths at a fixed number of tokens.

    python -m tests.benchmarks.attention [--tokens 8192] [--heads 12] [--head-dim 64] [--backends sdpa,eager]
                                        [--window 128]

Tokens a second of the forward pass, and of forward and backward, beside those of `eager`; the time for each pair of
tokens that see each other, which stays the same where the cost of a packed stream follows the sum of its sequences'
squared lengths; and the peak of memory above what was held before. The last row has sequences of many lengths.
With ``--window`` a token sees so many on each side, as in a model's local blocks.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from attrs import frozen
from torch import Tensor

from neobert import Part, SequenceLayout
from neobert.capabilities import Target, capabilities_of
from neobert.registry import Plugin, default_registry
from neobert.testing import make_context

KIND = "attn_backend"
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192)
LIBRARIES = ("torch", "flash-attn", "flash-attn-3", "flash-attn-4")
REFERENCE = "eager"
COLUMNS = ("backend", "lengths", "pass", "ms", "tokens/s", "x eager", "ns/pair", "peak MiB")
HEADER = "{:<20} {:>10} {:<8} {:>9} {:>11} {:>8} {:>8} {:>9}".format(*COLUMNS)


@frozen
class Setting:
    """What is the same in every measurement."""

    tokens: int
    heads: int
    head_dim: int
    target: Target
    seconds: float
    most_memory: float
    """GiB; a case that would take more is left out, with that reason."""
    window: int | None = None


@frozen
class Measured:
    """One case; seconds are the median of its repetitions."""

    seconds: float
    peak: int
    """Bytes above what was held before."""


def main() -> None:
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    target = Target.of(device, arguments.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    setting = Setting(
        arguments.tokens,
        arguments.heads,
        arguments.head_dim,
        target,
        arguments.seconds,
        arguments.most_memory,
        arguments.window,
    )
    print(versions(setting))
    print(HEADER)
    reference: dict[tuple[str, bool], float] = {}
    for plugin in plugins(arguments.backends):
        for line in rows(plugin, setting, reference):
            print(line, flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=8192, help="in the stream")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--dtype", help="of q, k and v (bfloat16 on CUDA, float32 elsewhere)")
    parser.add_argument("--backends", help="names, with commas between (all)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement, at least")
    parser.add_argument("--most-memory", type=float, default=6.0, help="GiB that a case may take")
    parser.add_argument("--window", type=int, help="tokens seen on each side (all)")
    return parser.parse_args()


def versions(setting: Setting) -> str:
    found = {dist.metadata["Name"]: dist.version for dist in metadata.distributions()}
    libraries = [f"{name} {found[name]}" for name in LIBRARIES if name in found]
    where = torch.cuda.get_device_name() if setting.target.device == "cuda" else platform.machine()
    return (
        f"{', '.join(libraries)}, Python {platform.python_version()}; {where}, {torch.get_num_threads()} threads; "
        f"{setting.tokens} tokens, {setting.heads} heads of {setting.head_dim}, {setting.target.dtype}"
        f"{'' if setting.window is None else f', window {setting.window}'}"
    )


def plugins(names: str | None) -> list[Plugin]:
    """Those asked for, the one that others are compared with first."""
    registry = default_registry()
    wanted = names.split(",") if names else registry.names(KIND)
    return sorted((registry.find(KIND, name) for name in wanted), key=lambda plugin: plugin.name != REFERENCE)


def rows(plugin: Plugin, setting: Setting, reference: dict[tuple[str, bool], float]) -> Iterator[str]:
    """A line for each case of one backend, or one with the reason why there is none."""
    reason = plugin.problem()
    options = plugin.options_class()
    capabilities = capabilities_of(options, setting.target)
    if reason is None and setting.target.device not in capabilities.devices:
        reason = next(capabilities.unfit(setting.target))
    if reason is None and setting.target.dtype not in capabilities.dtypes:
        reason = f"computes in {', '.join(capabilities.dtypes)}"
    if reason is None and setting.window is not None and not capabilities.window:
        reason = "has no window"
    if reason is not None:
        yield f"{plugin.name:<20} not here: {reason}"
        return
    if hasattr(options, "choose"):
        choice = options.choose(setting.target)
        yield f"{plugin.name:<20} is {choice.name} here: {choice.why}"
        return
    context = make_context(device=torch.device(setting.target.device), compute_dtype=setting.target.dtype)
    backend = Part(kind=KIND, name=plugin.name, options=options).build(context)
    for training in (False, True):
        if training and setting.target.device not in capabilities.train_devices:
            yield f"{plugin.name:<20} {'':>10} {'training':<8} not here: {next(capabilities.unfit(setting.target))}"
            continue
        yield from cases(plugin.name, backend, training, setting, reference)


def cases(
    name: str, backend: Any, training: bool, setting: Setting, reference: dict[tuple[str, bool], float]
) -> Iterator[str]:
    last_peak = 0
    for label, lengths in layouts(setting.tokens).items():
        start = f"{name:<20} {label:>10} {'training' if training else 'forward':<8}"
        # Twice the length is at most four times the memory.
        expected = 4 * last_peak / 2**30 if label != "mixed" else 0
        if expected > setting.most_memory:
            yield f"{start} left out: up to {expected:.0f} GiB (--most-memory)"
            continue
        case = measure(work(backend, lengths, training, setting), setting)
        last_peak = case.peak
        if name == REFERENCE:
            reference[label, training] = case.seconds
        base = reference.get((label, training))
        ratio = f"{base / case.seconds:>8.2f}" if base else f"{'-':>8}"
        pairs = sum(seen_pairs(length, setting.window) for length in lengths)
        yield (
            f"{start} {case.seconds * 1e3:>9.1f} {setting.tokens / case.seconds:>11,.0f} {ratio} "
            f"{case.seconds / pairs * 1e9:>8.2f} {case.peak / 2**20:>9,.0f}"
        )


def seen_pairs(length: int, window: int | None) -> int:
    """Pairs of a sequence's tokens of which one sees the other."""
    if window is None or window >= length - 1:
        return length**2
    return length * (2 * window + 1) - window * (window + 1)


def layouts(tokens: int) -> dict[str, tuple[int, ...]]:
    """Equal lengths, then many: halves of halves, of which the last two are alike."""
    found = {str(length): (length,) * (tokens // length) for length in LENGTHS if length <= tokens}
    mixed, left = [], tokens
    while left > LENGTHS[0]:
        mixed.append(left // 2)
        left -= left // 2
    return {**found, "mixed": (*mixed, left)}


def work(backend: Any, lengths: tuple[int, ...], training: bool, setting: Setting) -> Callable[[], None]:
    """One pass, as a function without arguments."""
    layout = SequenceLayout.from_lengths(lengths, setting.target.device)
    q, k, v, upstream = inputs(sum(lengths), training, setting)
    keywords: dict[str, Any] = {"scale": setting.head_dim**-0.5}
    if setting.window is not None:
        keywords["window"] = setting.window

    def once() -> None:
        if not training:
            with torch.no_grad():
                backend(q, k, v, layout, **keywords)
            return
        torch.autograd.grad(backend(q, k, v, layout, **keywords), (q, k, v), upstream)

    return once


def inputs(tokens: int, training: bool, setting: Setting) -> list[Tensor]:
    """q, k, v and an upstream gradient, (T, H, D) each."""
    torch.manual_seed(0)
    shape = (tokens, setting.heads, setting.head_dim)
    made = [
        torch.randn(shape, device=setting.target.device, dtype=getattr(torch, setting.target.dtype)) for _ in range(4)
    ]
    return [tensor.requires_grad_(training) for tensor in made[:3]] + made[3:]


def measure(once: Callable[[], None], setting: Setting) -> Measured:
    """One pass to warm up, which also shows the peak of memory, then passes until the time is over."""
    once()
    peak = peak_of(once, setting.target.device)
    taken: list[float] = []
    while sum(taken) < setting.seconds or len(taken) < 3:
        began = perf_counter()
        once()
        if setting.target.device == "cuda":
            torch.cuda.synchronize()
        taken.append(perf_counter() - began)
        if sum(taken) > 10 * setting.seconds:
            break
    return Measured(statistics.median(taken), peak)


def peak_of(once: Callable[[], None], device: str) -> int:
    """Bytes above what was held before; 0 where this system does not tell."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        once()
        return torch.cuda.max_memory_allocated() - before
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        once()
        return 0
    ctypes.CDLL(None).malloc_trim(0)  # what the allocator keeps would hide what is taken
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = resident("VmRSS")
    once()
    return max(0, resident("VmHWM") - before)


def resident(key: str) -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    msg = f"/proc/self/status has no {key}"
    raise OSError(msg)


if __name__ == "__main__":
    main()
