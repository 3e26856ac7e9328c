"""Prefixes of training, under the names by which others ask for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from neobert.export.prompts import Prompts, prompts_of


def recipe(prefixes: dict[str, str], required: tuple[str, ...], sources: Any = None) -> Any:
    roles = SimpleNamespace(required=required, texts=tuple(name for name in required if name not in ("label", "score")))
    options = (
        SimpleNamespace() if sources is None else SimpleNamespace(mixture=lambda: SimpleNamespace(sources=sources))
    )
    return SimpleNamespace(
        dataset=SimpleNamespace(role_prefixes=prefixes, options=options),
        datacollator=SimpleNamespace(options=SimpleNamespace(roles=roles)),
    )


@pytest.mark.parametrize(
    ("prefixes", "required", "names", "default"),
    [
        ({}, ("query", "positive"), {}, None),
        ({"query": "q: "}, ("query", "positive"), {"query": "q: "}, None),
        ({"query": "q: ", "positive": "d: "}, ("query", "positive"), {"query": "q: ", "document": "d: "}, None),
        ({"query": "t: ", "positive": "t: "}, ("query", "positive"), {"query": "t: ", "document": "t: "}, "query"),
        ({"sentence": "s: "}, ("sentence",), {"sentence": "s: "}, "sentence"),
        ({"text": "s: "}, ("text", "label"), {"text": "s: "}, "text"),
        ({"sentence1": "s: "}, ("sentence1", "sentence2", "score"), {"sentence1": "s: "}, None),
    ],
)
def test_names_and_default(
    prefixes: dict[str, str], required: tuple[str, ...], names: dict[str, str], default: str | None
) -> None:
    assert prompts_of(recipe(prefixes, required)) == Prompts(names, default)


def test_a_mixtures_own_prefixes_bear_its_sources_names() -> None:
    sources = [
        SimpleNamespace(name="web", prefixes={"query": "web: "}),
        SimpleNamespace(name="code", prefixes={"query": "q: "}),
    ]
    found = prompts_of(recipe({"query": "q: "}, ("query", "positive"), sources))
    assert dict(found.by_name) == {"query": "q: ", "web/query": "web: "}


def test_what_is_put_before_a_kind_of_text() -> None:
    prompts = Prompts({"query": "q: ", "document": ""}, "query")
    assert [prompts.of(name) for name in ("query", "document", "text")] == ["q: ", "", "q: "]
    assert Prompts({"query": "q: "}).of("text") == ""
