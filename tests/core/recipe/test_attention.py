"""What attention backends cannot do on a device or for a model, and what those that choose have chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from attrs import frozen

from neobert import AttentionNeeds, Capabilities, Part, part
from neobert.capabilities import Choice, Target, capabilities_of
from neobert.recipe import Recipe, attention_choices, check_device
from neobert.registry import Plugin, Registry, Source

Load = Callable[..., Recipe]

PLAIN = '[dataset]\nname = "plain"\n'
FLEX = PLAIN + '[model]\nattn_backend = "flex"\n'
BF16 = '[trainer]\nmixed_precision = "bf16"\n'
NARROW = Capabilities(devices=("cuda",), head_dims=range(8, 65, 8), cuda_capability=(8, 0), window=True)


@frozen(kw_only=True)
class Narrow:
    """A backend for some GPUs."""

    capabilities: ClassVar[Capabilities] = NARROW


@frozen(kw_only=True)
class Chooses:
    """Narrow on a GPU, wide elsewhere."""

    def choose(self, target: Target) -> Choice:
        narrow = target.device == "cuda"
        name, options = ("narrow", Narrow()) if narrow else ("wide", Wide())
        return Choice(name=name, options=options, why="it suits")


@frozen(kw_only=True)
class Wide:
    """A backend that takes everything."""

    capabilities: ClassVar[Capabilities] = Capabilities(window=True, dropout=True)


@frozen(kw_only=True)
class Wraps:
    """One backend inside another."""

    capabilities: ClassVar[Capabilities] = Wide.capabilities
    inner: Part = part("attn_backend", default="narrow")


@frozen(kw_only=True)
class Asking:
    """A model that says what it needs."""

    window: int | None = None
    dropout: float = 0.0
    head_dim: int = 64
    attn_backend: Part = part("attn_backend", default="wide")

    def attention_needs(self) -> AttentionNeeds:
        return AttentionNeeds(window=self.window, dropout_p=self.dropout, head_dim=self.head_dim)


@pytest.fixture
def registry(registry: Registry) -> Registry:
    source = Source("fakes", "1.0", "fakes")
    backends: dict[str, type] = {"narrow": Narrow, "chooses": Chooses, "wide": Wide, "wraps": Wraps}
    more = [Plugin("attn_backend", name, cls, source) for name, cls in backends.items()]
    return Registry.of([*registry.plugins, *more, Plugin("model", "asking", Asking, source)])


@pytest.fixture
def problems(load: Load, registry: Registry) -> Callable[..., list[str]]:
    def found(text: str, target: Target) -> list[str]:
        return [str(problem) for problem in check_device(load(text), target, registry)]

    return found


def test_a_device_and_a_dtype_that_a_backend_does_not_have(problems: Callable[..., list[str]]) -> None:
    can = "name one that can do this here: chooses, eager, sdpa, wide, wraps, wrapping"
    first, second = problems(FLEX, Target(device="cpu"))
    assert first.splitlines()[:2] == [
        'recipe.toml:4: model.attn_backend.name = "flex"',
        "  trains on cuda, and this run is on cpu",
    ]
    assert "mixed_precision" not in first, "which changes nothing of that"
    assert sorted(first.splitlines()[2].split(": ")[1].split(", ")) == sorted(can.split(": ")[1].split(", "))
    assert second.splitlines()[1] == "  computes in bfloat16; trainer.mixed_precision asks for float32"
    assert second.splitlines()[2].startswith('  set trainer.mixed_precision = "bf16", or name one')
    assert problems(FLEX + BF16, Target(device="cuda", dtype="bfloat16")) == []
    assert "runs on cpu, cuda, mps, and this run is on tpu" in problems(FLEX + BF16, Target(device="tpu"))[0]


def test_a_backend_inside_another_is_checked_where_it_stands(problems: Callable[..., list[str]]) -> None:
    (found,) = problems(PLAIN + '[model]\nattn_backend = "wrapping"\n' + BF16, Target(device="cpu", dtype="bfloat16"))
    assert 'model.attn_backend.inner.name = "flex"' in found


def test_a_gpu_that_is_too_old(problems: Callable[..., list[str]]) -> None:
    text = PLAIN + '[model]\nattn_backend = "narrow"\n'
    assert problems(text, Target(device="cuda", cuda_capability=(8, 0))) == []
    (found,) = problems(text, Target(device="cuda", cuda_capability=(7, 5)))
    assert "needs a CUDA device of compute capability 8.0, and this one has 7.5" in found


@pytest.mark.parametrize(
    ("backend", "keys", "message"),
    [
        ("narrow", "", None),
        ("narrow", "window = 3", None),
        ("sdpa", "window = 3", "has no window, and the model's is 3"),
        ("narrow", "dropout = 0.1", "has no dropout, and the model's is 0.1"),
        ("narrow", "head_dim = 12", "takes head dims that are multiples of 8 from 8 to 64, and the model's is 12"),
        ("wide", "dropout = 0.1\nhead_dim = 12\nwindow = 1", None),
        ("wraps", "dropout = 0.1", None),
    ],
)
def test_what_the_model_needs(problems: Callable[..., list[str]], backend: str, keys: str, message: str | None) -> None:
    text = PLAIN + f'[model]\nname = "asking"\nattn_backend = "{backend}"\n{keys}\n'
    found = problems(text, Target(device="cuda"))
    assert [line.splitlines()[1].strip() for line in found] == ([] if message is None else [message])


def test_one_that_chooses_is_checked_as_what_it_chooses(
    load: Load, registry: Registry, problems: Callable[..., list[str]]
) -> None:
    text = PLAIN + '[model]\nname = "asking"\nattn_backend = "chooses"\ndropout = 0.1\n'
    assert problems(text, Target(device="cpu")) == []
    (found,) = problems(text, Target(device="cuda"))
    assert "chooses 'narrow' here, which has no dropout, and the model's is 0.1" in found
    assert "name one that can do this here: wide" in found
    recipe = load(text)
    assert attention_choices(recipe, Target(device="cpu")) == {"model.attn_backend": "wide: it suits"}
    assert attention_choices(load(FLEX), Target(device="cpu")) == {}


def test_capabilities_without_a_word_are_the_defaults() -> None:
    options: Any = object()
    assert capabilities_of(options) == Capabilities()
    assert capabilities_of(Chooses()) == Capabilities()
    assert capabilities_of(Chooses(), Target(device="cuda")) == NARROW
