"""A registry made by hand, so that the rules of recipes are tested without any installed plugin."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from attrs import Factory, field, frozen
from attrs.validators import and_, ge, gt, in_, lt, min_len, optional

from neobert import Capabilities, Part, part
from neobert.errors import RecipeError
from neobert.recipe import Recipe, load_recipe
from neobert.registry import Broken, Plugin, Registry, Source


@frozen(kw_only=True)
class Sdpa:
    """A backend without options."""


@frozen(kw_only=True)
class Flex:
    """A backend with options."""

    capabilities: ClassVar[Capabilities] = Capabilities(train_devices=("cuda",), dtypes=("bfloat16",))

    block_size: int = field(default=64, validator=ge(1))
    mask: str | None = None


@frozen(kw_only=True)
class Varlen:
    """A backend that cannot run here."""

    requires: ClassVar[tuple[str, ...]] = ("a-package-that-is-not-there>=2.7",)
    block_size: int = 128


@frozen(kw_only=True)
class Wrapping:
    """Backends inside a backend: one, several in order, several by name."""

    inner: Part = part("attn_backend", default={"name": "flex", "block_size": 32})
    stages: tuple[Part, ...] = part("attn_backend", default=("sdpa",))
    by_layer: dict[str, Part] = part("attn_backend", default={"first": "sdpa"})


@frozen(kw_only=True)
class Model:
    """An encoder."""

    hidden_size: int = field(default=64, validator=ge(8))
    num_heads: int = field(default=4, validator=ge(1))
    dropout: float = field(default=0.0, validator=and_(ge(0.0), lt(1.0)))
    ngpt: bool = False
    attn_backend: Part = part("attn_backend", default="sdpa")

    def check(self, recipe: Recipe) -> list[str]:
        if self.hidden_size % self.num_heads:
            return [f"hidden_size: {self.num_heads} heads do not divide it"]
        return []


@frozen(kw_only=True)
class OtherModel:
    """Another encoder; it shares one key with the first."""

    hidden_size: int = 32
    width: float = 1.0
    attn_backend: Part = part("attn_backend", default="flex")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Inner:
    """A plain table."""

    a: int = 1
    b: str | None = "b"


@frozen(kw_only=True)
class Disk:
    """A dataset with one required key."""

    path: str = field(metadata={"path": True, "help": "the folder"})
    columns: dict[str, str] = Factory(dict)


@frozen(kw_only=True)
class Everything:
    """A dataset with every type that an options class may have."""

    text: str = "x"
    number: int = field(default=3, validator=optional(ge(1)))
    rate: float = field(default=0.5, validator=gt(0.0))
    anything: float = field(default=0.0, metadata={"nonfinite": True})
    flag: bool = False
    choice: Literal["no", "yes", "2"] = "no"
    mixed: Literal["a", 1] = "a"
    maybe: int | None = None
    maybe_five: int | None = 5
    either: str | int | None = None
    names: tuple[str, ...] = ()
    items: list[int] = field(factory=list, validator=min_len(0))
    betas: tuple[float, float] = (0.9, 0.999)
    table: dict[str, int] = Factory(lambda: {"one": 1})
    inner: Inner = Inner(a=2, b=None)
    maybe_inner: Inner | None = None
    inners: tuple[Inner, ...] = ()
    inner_by_name: dict[str, Inner] = Factory(dict)
    folder: Path = Path("somewhere")
    hub_or_folder: str = field(default="org/name", metadata={"path": "if_exists"})
    colour: Colour = Colour.RED
    picked: str = field(default="a", validator=in_(["a", "b"]))
    even: int = 2

    def __attrs_post_init__(self) -> None:
        if self.number == 13:
            msg = "13 and this dataset do not go together"
            raise ValueError(msg)


def _even_only(_: Any, __: Any, value: int) -> None:
    if value % 2:
        msg = f"an even number of shards is wanted, got {value}"
        raise ValueError(msg)


@frozen(kw_only=True)
class Sharded:
    """A dataset with validators of its own, one that looks at another field."""

    shards: int = field(default=2, validator=[ge(0), _even_only])
    limit: int = field(default=10)

    @limit.validator
    def _at_least_shards(self, _: Any, value: int) -> None:
        if value < self.shards:
            msg = f"limit {value} is below shards"
            raise ValueError(msg)


@frozen(kw_only=True)
class Collator:
    """A collator."""

    mlm_probability: float = field(default=0.2, validator=and_(gt(0.0), lt(1.0)))
    mask_all: bool = False


@frozen(kw_only=True)
class Adam:
    """An optimizer."""

    lr: float = field(default=1e-3, validator=gt(0.0))
    betas: tuple[float, float] = (0.9, 0.98)


@frozen(kw_only=True)
class Chunked:
    """A loss with an option."""

    chunk: int = field(default=8, validator=ge(1))


@frozen(kw_only=True)
class Nothing:
    """A part without options."""


@frozen(kw_only=True)
class Board:
    """A tracker with options."""

    folder: str | None = field(default=None, metadata={"path": True})
    every: int = field(default=1, validator=ge(1))


PLUGINS: dict[str, dict[str, type]] = {
    "model": {"neobert": Model, "other": OtherModel},
    "attn_backend": {"sdpa": Sdpa, "eager": Sdpa, "flex": Flex, "varlen": Varlen, "wrapping": Wrapping},
    "tokenizer": {"train_wordpiece": Nothing},
    "dataset": {"disk": Disk, "everything": Everything, "sharded": Sharded, "plain": Nothing},
    "datacollator": {"mlm": Collator},
    "loss": {"masked_lm": Nothing, "full_logits_lm": Nothing, "chunked": Chunked},
    "optimizer": {"adamw": Adam, "sgd": Chunked},
    "scheduler": {"cosine": Nothing},
    "checkpointer": {"safetensors": Nothing},
    "tracker": {"jsonl": Nothing, "board": Board},
}

Load = Callable[..., Recipe]


@pytest.fixture(scope="session")
def registry() -> Registry:
    source = Source("fakes", "1.0", "fakes")
    plugins = [Plugin(kind, name, cls, source) for kind, found in PLUGINS.items() for name, cls in found.items()]
    return Registry.of(plugins, [Broken(source, "it does not import", "loss", "broken_loss")])


@pytest.fixture
def load(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the text as ``recipe.toml`` of a folder that is the working directory."""
    monkeypatch.chdir(tmp_path)

    def load_text(text: str, *overrides: str, **others: str) -> Recipe:
        for name, other in others.items():
            Path(f"{name}.toml").write_text(other, encoding="utf-8")
        Path("recipe.toml").write_text(text, encoding="utf-8")
        return load_recipe("recipe.toml", overrides, registry=registry)

    return load_text


@pytest.fixture
def faults(load: Load) -> Callable[..., dict[str, str]]:
    """What a recipe is refused for: dotted key -> the whole problem as printed."""

    def refused(text: str, *overrides: str, **others: str) -> dict[str, str]:
        with pytest.raises(RecipeError) as caught:
            load(text, *overrides, **others)
        return {problem.key: str(problem) for problem in caught.value.problems}

    return refused
