"""A loss and a datacollator that do not go together are found by what both state."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from attrs import frozen

from neobert.recipe import Recipe
from neobert.registry import Plugin, Registry, Source

Load = Callable[..., Recipe]
Faults = Callable[..., dict[str, str]]


@frozen(kw_only=True)
class Silent:
    """States nothing."""

    def build(self, context: object) -> None: ...


@frozen(kw_only=True)
class Masks(Silent):
    """Gives what a masked-token loss needs."""

    batch_fields: ClassVar[tuple[str, ...]] = ("masked_positions", "labels")


@frozen(kw_only=True)
class Pairs(Silent):
    """Gives pairs."""

    batch_fields: ClassVar[tuple[str, ...]] = ("query", "positive", "negative")


@frozen(kw_only=True)
class Missing(Pairs):
    """The same, and cannot run here."""

    requires: ClassVar[tuple[str, ...]] = ("a-package-that-is-not-there",)


@frozen(kw_only=True)
class OfPairs(Silent):
    """Needs pairs."""

    needs_fields: ClassVar[tuple[str, ...]] = ("query", "positive")


@frozen(kw_only=True)
class Deciding(Silent):
    """What it needs is a matter of its options."""

    scores: bool = False

    @property
    def needs_fields(self) -> tuple[str, ...]:
        return ("score",) if self.scores else ("query",)


ADDED: dict[str, dict[str, type]] = {
    "datacollator": {"silent": Silent, "masks": Masks, "pairs": Pairs, "missing": Missing},
    "loss": {"silent": Silent, "of_pairs": OfPairs, "deciding": Deciding},
}


@pytest.fixture
def load(registry: Registry, load: Load, monkeypatch: pytest.MonkeyPatch) -> Load:
    from neobert.recipe import load_recipe

    source = Source("more", "1.0", "more")
    more = [Plugin(kind, name, cls, source) for kind, found in ADDED.items() for name, cls in found.items()]
    richer = Registry.of([*registry.plugins, *more], [])

    def load_parts(collator: str, loss: str) -> Recipe:
        load('[dataset]\nname = "plain"\n')  # a folder to be in
        with open("parts.toml", "w", encoding="utf-8") as file:
            file.write(f'loss = {loss}\ndatacollator = "{collator}"\ndataset = "plain"\n')
        return load_recipe("parts.toml", registry=richer)

    return load_parts


@pytest.mark.parametrize(
    ("collator", "loss"),
    [
        ("pairs", '"of_pairs"'),
        ("pairs", '"deciding"'),
        ("silent", '"of_pairs"'),
        ("masks", '"silent"'),
        ("mlm", '"of_pairs"'),
    ],
)
def test_what_is_given_or_not_stated_is_let_through(load: Load, collator: str, loss: str) -> None:
    load(collator, loss)


def test_what_is_not_given_is_refused_with_those_that_give_it(faults: Faults) -> None:
    found = faults("masks", '"of_pairs"')
    assert found == {
        "datacollator.name": 'parts.toml:2: datacollator.name = "masks"\n'
        '  loss "of_pairs" needs query and positive in a batch, and this one gives masked_positions and labels\n'
        "  datacollators whose batches have them: pairs"
    }


def test_options_may_decide_what_is_needed(faults: Faults) -> None:
    (said,) = faults("pairs", '{ name = "deciding", scores = true }').values()
    assert 'loss "deciding" needs score in a batch' in said
    assert "no datacollator here gives them" in said
