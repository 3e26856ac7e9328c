"""What a run changes of its process, put back afterwards: whoever calls it goes on with threads, seeds and settings of
their own."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from accelerate.state import PartialState

from neobert import products
from neobert.training.allocator import keep_memory_as_usual


@contextmanager
def process_as_it_was() -> Iterator[None]:
    """After it: torch's threads, its generators (CUDA's too), its TF32 and compiler settings, Python's and numpy's
    generators, the environment, accelerate's state and what `neobert.products` chose are as they were.

    What glibc was told of memory can't be read: glibc's defaults are set, where a run sets anything.
    """
    with ExitStack() as stack:
        for keep in (_threads, _generators, _settings, _environment, _accelerate):
            stack.enter_context(keep())
        stack.enter_context(products.chosen(products.chosen_library()))
        stack.callback(keep_memory_as_usual)
        yield


@contextmanager
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _generators() -> Iterator[None]:
    python, numpys = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpys)


@contextmanager
def _settings() -> Iterator[None]:
    from torch._dynamo import config as compiler

    places: tuple[tuple[Any, str], ...] = (
        (compiler, "fail_on_recompile_limit_hit"),
        (torch.backends.cuda.matmul, "fp32_precision"),
        (torch.backends.cudnn.conv, "fp32_precision"),  # type: ignore[attr-defined]
    )
    before = [getattr(place, name) for place, name in places]
    try:
        yield
    finally:
        for (place, name), value in zip(places, before, strict=True):
            if getattr(place, name) != value:
                setattr(place, name, value)


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _accelerate() -> Iterator[None]:
    was_there = bool(PartialState._shared_state)
    try:
        yield
    finally:
        if not was_there:
            PartialState._reset_state()
