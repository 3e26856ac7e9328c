"""Prose of the standard library: what is read, that it is cached, that nothing held out leaks."""

from __future__ import annotations

import ast

import pytest

from neobert import UserError
from neobert_plugins.datasets import stdlib
from neobert_plugins.datasets.prose import module_items
from neobert_plugins.datasets.stdlib_options import StandardLibrary

SOURCE = '''"""What the module is for."""

# This comment explains in plain words why the next class exists.
class Thing(Base, object):
    """A thing.

        Indented more.
    """

    def method(self, a, b=1, *, c: int = 2):
        """Does it."""
        x = """
# this line of words is inside a string and is no comment
"""
        # return x + y[0] * {1: 2}
        # -----------------------------------------------

    def bare(self): pass

async def wait(): "Waits."
'''


def test_items_of_a_module():
    found = [item.text for item in module_items(SOURCE, "pack.mod", ("docstrings", "comments"))]
    assert found == [
        "module pack.mod\nWhat the module is for.",
        "This comment explains in plain words why the next class exists.",
        "class pack.mod.Thing(Base, object)\nA thing.\n\nIndented more.",
        "pack.mod.Thing.method(self, a, b=1, *, c: int=2)\nDoes it.",
        "pack.mod.wait()\nWaits.",
    ]


def test_sources():
    assert [item.text for item in module_items(SOURCE, "m", ("sources",))] == [SOURCE.strip()]
    with pytest.raises(SyntaxError):
        module_items("def", "m", ("docstrings",))


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of 40 small modules, three of a package, and things that are no prose."""
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "lib"
    files = {f"module{i}.py": f'"""Module number {i} speaks of {"things " * 20}."""\n' for i in range(40)}
    files |= {f"pack/part{i}.py": f'"""Part {i} of a package with {"neighbours " * 20}."""\n' for i in range(3)}
    files["pack/__init__.py"] = '"""The package itself."""\n'
    files |= {f"{name}.py": 'def f():\n    """The very same words in many modules."""\n' for name in ("m1", "m2")}
    files |= {"test/test_x.py": '"""A test."""', "broken.py": "def", "latin.py": b'"""caf\xe9"""'}
    files |= {"site-packages/other.py": '"""Not ours."""', "not-a-name/x.py": '"""Not a module."""'}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(stdlib, "get_paths", lambda: {"stdlib": str(folder)})
    return folder


def build(**options):
    return StandardLibrary(**{"material": ("docstrings",), "eval_share": 0.3} | options).build(None)


def test_held_out_is_whole_modules_and_about_the_share(library):
    splits = build()
    groups = {name: set(rows["module"]) for name, rows in splits.items()}
    assert not groups["train"] & groups["eval"]
    sizes = {name: sum(map(len, rows["text"])) for name, rows in splits.items()}
    assert 0.2 < sizes["eval"] / (sizes["eval"] + sizes["train"]) <= 0.3


def test_what_is_read(library):
    splits = build(eval_share=0.0)
    assert set(splits) == {"train"}
    modules = set(splits["train"]["module"])
    assert {"module0", "pack", "pack.part2", "m1"} <= modules
    assert not modules & {"broken", "latin", "test.test_x", "other", "x"}
    assert "test.test_x" in build(eval_share=0.0, tests=True)["train"]["module"]


def test_a_module_is_a_document_or_an_item_is(library):
    (library / "both.py").write_text('"""First."""\nclass A:\n    """Second."""\n')
    joined = build(eval_share=0.0)["train"]
    texts = dict(zip(joined["module"], joined["text"], strict=True))
    assert texts["both"] == "module both\nFirst.\n\nclass both.A\nSecond."
    items = build(eval_share=0.0, document="item")["train"]
    assert [text for text, module in zip(items["text"], items["module"], strict=True) if module == "both"] == [
        "module both\nFirst.",
        "class both.A\nSecond.",
    ]


def test_no_text_is_on_both_sides(library):
    for i in range(30):
        (library / f"copy{i}.py").write_text("# This is one and the same licence text in every file.\n")
    splits = build(document="item", material=("docstrings", "comments"))
    everything = [text for rows in splits.values() for text in rows["text"]]
    assert len(everything) == len(set(everything))
    assert sum("licence" in text for text in everything) == 1


def test_read_once_until_a_file_changes(library, monkeypatch):
    first = build()
    real, parsed = ast.parse, []
    monkeypatch.setattr(ast, "parse", lambda *args: parsed.append(1) or real(*args))
    assert build()["train"]["text"][:] == first["train"]["text"][:]
    assert not parsed
    (library / "module0.py").write_text('"""Changed."""')
    build()
    assert parsed


def test_roots_are_packages_installed_here(library):
    modules = build(eval_share=0.0, roots=("pluggy",))["train"]["module"]
    assert any(module.startswith("pluggy.") for module in modules)
    with pytest.raises(UserError, match="'no_such_package', which is not installed"):
        build(roots=("no_such_package",))


def test_topics(library):
    texts = build(eval_share=0.0, material=("topics",))["train"]
    assert len(texts) > 50
    assert any("assignment" in module for module in texts["module"])


def test_nothing_to_read(library):
    with pytest.raises(UserError, match="no text of material"):
        build(material=())
