"""Which options classes are refused, and that a refused one leaves its siblings alone."""

from __future__ import annotations

import pytest

from neobert.registry import load_registry

SIBLING = """
@frozen(kw_only=True)
class Good:
    def build(self, context):
        return self

class NotYet:
    def build(self, context):
        return self
"""

HOOK = """
@hookimpl
def {hook}():
    return {{"good": Good, {name}: {cls}}}
"""

BUILD = "    def build(self, context): return self\n"


def options(body: str) -> str:
    return f"@frozen(kw_only=True)\nclass Bad:\n    {body}\n{BUILD}"


# source of the class Bad, what the error says, hook
REFUSED = {
    "plain class": (f"class Bad:\n{BUILD}", "no attrs class"),
    "dataclass": (f"from dataclasses import dataclass\n@dataclass\nclass Bad:\n{BUILD}", "no attrs class"),
    "an instance": ("Bad = Good()", "a hook returns classes"),
    "no build": ("@frozen\nclass Bad: pass", "no method build"),
    "build is a field": ("@frozen(kw_only=True)\nclass Bad:\n    build: int = 3", "no method build"),
    "field name": (options("name: str = 'x'"), "a field called `name`"),
    "inherited field name": (
        f"@frozen(kw_only=True)\nclass Base:\n    name: str = 'x'\n{BUILD}\n"
        "@frozen(kw_only=True)\nclass Bad(Base): pass",
        "a field called `name`",
    ),
    "requires is a field": (
        options("requires: tuple[str, ...] = ()"),
        "Bad.requires is a field: annotate it ClassVar",
    ),
    "capabilities is a field": (
        options("capabilities: Capabilities = Capabilities()"),
        "Bad.capabilities is a field: annotate it ClassVar",
    ),
    "requires is a string": (options("requires: ClassVar = 'flash-attn'"), "requires is a tuple"),
    "requires holds no requirement": (
        options("requires: ClassVar = ('flash attn = 2',)"),
        "which is no requirement",
    ),
    "requires holds a number": (options("requires: ClassVar = (3,)"), "requires is a tuple"),
    "decorator forgotten below an attrs class": (
        f"@frozen(kw_only=True)\nclass Base:\n    size: int = 1\n{BUILD}\nclass Bad(Base):\n    width: int = 3",
        "Bad.width is annotated and yet is no field",
    ),
    "type under TYPE_CHECKING": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path\n"
        + options("where: Path = None"),
        "not under TYPE_CHECKING",
    ),
    "available is a string": (options("available: ClassVar = 'no'"), "Bad.available is 'no'; it is a method"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_class_is_broken_alone(install, case):
    source, expected = REFUSED[case]
    hook = HOOK.format(hook="neobert_losses", name='"bad"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": f"{SIBLING}\n{source}\n{hook}"})
    registry = load_registry()
    assert [plugin.name for plugin in registry.plugins if plugin.distribution == "theirs"] == ["good"]
    (broken,) = [item for item in registry.broken if item.source.distribution == "theirs"]
    assert (broken.kind, broken.name, broken.source.entry_point) == ("loss", "bad", "point")
    assert expected in broken.error


@pytest.mark.parametrize(
    ("hook", "key"),
    [
        ("neobert_datasets", "max_seq_length"),
        ("neobert_datasets", "num_proc"),
        ("neobert_datacollators", "pack_sequences"),
        ("neobert_models", "weights"),
    ],
)
def test_a_field_named_like_a_key_of_the_core_is_refused(install, hook, key):
    source = SIBLING + options(f"{key}: int = 1") + HOOK.format(hook=hook, name='"bad"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    (broken,) = [item for item in load_registry().broken if item.source.distribution == "theirs"]
    assert f"a field called `{key}`, a key that the core serves" in broken.error


def test_the_same_field_is_fine_in_another_kind(install):
    source = SIBLING + options("max_seq_length: int = 1") + HOOK.format(hook="neobert_losses", name='"bad"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    assert load_registry().find("loss", "bad").options_class().max_seq_length == 1


@pytest.mark.parametrize("name", ["3", "''", "'two words'", "'tab\\t'", "None"])
def test_a_name_that_no_recipe_could_write_is_refused(install, name):
    source = SIBLING + HOOK.format(hook="neobert_losses", name=name, cls="Good")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    (broken,) = [item for item in load_registry().broken if item.source.distribution == "theirs"]
    assert "a plugin's name is a string" in broken.error


@pytest.mark.parametrize("value", ["{'window': True}", "None"])
def test_capabilities_of_another_type_are_refused(install, value):
    source = SIBLING + options(f"capabilities: ClassVar = {value}")
    source += HOOK.format(hook="neobert_attn_backends", name='"bad"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    (broken,) = [item for item in load_registry().broken if item.source.distribution == "theirs"]
    assert "is a neobert.Capabilities" in broken.error


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("roles: ClassVar = ('query', 'positive')", "Bad.roles is a neobert.Roles, got ('query', 'positive')"),
        ("roles: tuple[str, ...] = ()", "Bad.roles is a field: annotate it ClassVar"),
        ("roles: ClassVar = Roles(required=('label',))", "none of the required roles holds a text"),
    ],
)
def test_roles_of_another_type_are_refused(install, line, said):
    source = "from neobert import Roles\n" + SIBLING + options(line)
    source += HOOK.format(hook="neobert_datacollators", name='"bad"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    (broken,) = [item for item in load_registry().broken if item.source.distribution == "theirs"]
    assert said in broken.error


@pytest.mark.parametrize(
    "line",
    [
        "roles: ClassVar = Roles(required=('query',))",
        "@property\n    def roles(self): return Roles(required=('query',))",
    ],
)
def test_roles_are_accepted(install, line):
    source = "from neobert import Roles\n" + SIBLING + options(line)
    source += HOOK.format(hook="neobert_datacollators", name='"fine"', cls="Bad")
    install("theirs", {"point": "theirs"}, {"theirs": source})
    assert load_registry().find("datacollator", "fine").options_class().roles.required == ("query",)


def test_what_is_right_is_accepted(install):
    source = (
        SIBLING
        + '''
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from somewhere import Anything

@frozen(kw_only=True)
class Bad:
    requires: ClassVar[tuple[str, ...]] = ("attrs>=20",)
    capabilities: ClassVar[Capabilities] = Capabilities(window=True)
    other: ClassVar[Anything] = None
    inner: Part = part("attn_backend", default="sdpa")
    size: int = field(default=3, metadata={"help": "x"})

    @classmethod
    def available(cls):
        return None

    def build(self, context): return self

class Child(Bad):
    """A subclass that adds no field needs no decorator."""
    capabilities: ClassVar[Capabilities] = Capabilities()

@hookimpl
def neobert_attn_backends():
    return {"bad": Bad, "child": Child}
'''
    )
    install("theirs", {"point": "theirs"}, {"theirs": source})
    registry = load_registry()
    assert [item.error for item in registry.broken if item.source.distribution == "theirs"] == []
    assert registry.usable("attn_backend", "bad").requires == ("attrs>=20",)
    assert registry.usable("attn_backend", "child").summary == "A subclass that adds no field needs no decorator."
