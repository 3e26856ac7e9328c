"""Pairs of the standard library: real source without its docstring, and nothing held out that an encoder has seen."""

from __future__ import annotations

import ast
import sys
import textwrap
from pathlib import Path

import pytest

from neobert import UserError
from neobert.errors import RecipeError
from neobert.recipe import load_recipe
from neobert.testing import check_dataset
from neobert_plugins.datasets import stdlib
from neobert_plugins.datasets.code_pairs import count_words, module_pairs, name_words
from neobert_plugins.datasets.prose_pairs import CROP_WORDS, context_pairs, crop_pairs, crops_of
from neobert_plugins.datasets.stdlib_options import StandardLibrary
from neobert_plugins.datasets.stdlib_pairs import held_out_modules
from neobert_plugins.datasets.stdlib_pairs_options import StandardLibraryPairs

RECIPE = Path(__file__).parents[3] / "recipes/pretrain.toml"
DOCSTRING = "Adds two numbers and returns their sum to whoever asked."
SOURCE = f'''
class Adder:
    """{DOCSTRING}"""

    offset = 1

    @cached(
        size=1)
    # a comment before the definition
    def add_Numbers(self, first, second):  # on its line
        # a comment before the docstring
        """{DOCSTRING}

        It is slow: für jede Zahl, with more words than one needs.
        """  # after it
        text = """
left
"""

        # a comment inside
        return first + second + self.offset

    def short(self): "{DOCSTRING}"; return self.offset + self.offset + self.one + self.two

    def same_line(self):
        "{DOCSTRING}"; total = self.offset
        return total + self.offset + self.one + self.two

if True:
    async def inside(one, two, three):
        "{DOCSTRING}"
        return one + two + three

def only_says(one, two, three, four, five):
    """{DOCSTRING}"""

def few_words():
    """Adds."""
    return a + b + c + d + e + f + g + h
'''


def pairs(*forms, source=SOURCE):
    return [(pair.query, pair.positive) for pair in module_pairs(source, forms)]


def test_a_docstring_and_its_code_without_it():
    found = pairs("docstring_code")
    names = [positive.partition("(")[0].split()[-1] for _, positive in found]
    assert len(found) == 5
    assert {query.splitlines()[0] for query, _ in found} == {DOCSTRING}
    assert "few_words" not in names
    assert "only_says" not in names
    added = next(positive for _, positive in found if positive.startswith("@cached"))
    assert added == textwrap.dedent(
        '''\
        @cached(
            size=1)
        # a comment before the definition
        def add_Numbers(self, first, second):  # on its line
            # a comment before the docstring
            # after it
            text = """
        left
        """

            # a comment inside
            return first + second + self.offset'''
    )


def test_docstrings_that_share_their_line():
    found = dict.fromkeys(positive for _, positive in pairs("docstring_code"))
    assert "def short(self): return self.offset + self.offset + self.one + self.two" in found
    expected = "def same_line(self):\n    total = self.offset\n    return total + self.offset + self.one + self.two"
    assert expected in found
    assert "async def inside(one, two, three):\n    return one + two + three" in found


def test_every_line_of_the_code_is_a_line_of_the_source():
    lines = {line.strip() for line in SOURCE.splitlines()}
    changed = {"# after it", "total = self.offset"}  # what stood behind a docstring
    for _, positive in pairs("docstring_code"):
        assert all(
            line.strip() in lines | changed or line.strip().startswith("def short") for line in positive.splitlines()
        )


@pytest.mark.parametrize("module", ["textwrap", "dataclasses", "optparse"])
def test_what_is_left_is_python_that_says_it_no_more(module):
    source = Path(ast.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    found = pairs("docstring_code", source=source)
    assert len(found) > 5
    for query, positive in found:
        (definition,) = ast.parse(positive).body
        assert ast.get_docstring(definition) != query


def test_a_summary_and_the_rest():
    ((query, positive),) = pairs("summary_rest")
    assert (query, positive) == (DOCSTRING, "It is slow: für jede Zahl, with more words than one needs.")


def test_a_name_and_its_body():
    found = dict(pairs("name_body"))
    assert found["add numbers"].startswith('text = """\nleft\n"""\n\n# a comment inside\nreturn first')
    assert found["same line"] == "total = self.offset\nreturn total + self.offset + self.one + self.two"
    assert found["few words"] == "return a + b + c + d + e + f + g + h"
    assert "short" not in found


@pytest.mark.parametrize(
    ("name", "words"),
    [("get_HTTPServer2", "get http server 2"), ("__init__", "init"), ("assertRaisesRegex", "assert raises regex")],
)
def test_words_of_a_name(name, words):
    assert name_words(name) == words


def test_crops_cover_a_text_and_go_with_another_of_it():
    text = "\n".join(f"word{number} and" for number in range(200))
    crops = crops_of(text)
    assert " ".join(" ".join(crops).split()) == " ".join(text.split())
    assert {len(crop.split()) for crop in crops[:-1]} == {CROP_WORDS}
    found = list(crop_pairs(text))
    assert [query for query, _ in found] == crops
    assert all(query != positive and positive in crops for query, positive in found)
    assert found == list(crop_pairs(text))
    assert not list(crop_pairs("too short to have two crops of its own, this is"))


def test_a_paragraph_and_those_around_it():
    paragraphs = [f"paragraph {name} has as many words in it as are needed here" for name in ("one", "two", "three")]
    assert list(context_pairs("\n\n".join(paragraphs))) == [
        (paragraphs[0], paragraphs[1]),
        (paragraphs[1], f"{paragraphs[0]}\n\n{paragraphs[2]}"),
        (paragraphs[2], paragraphs[1]),
    ]


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A standard library of 40 modules with a documented function each."""
    monkeypatch.setenv("NEOBERT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "lib"
    folder.mkdir()
    for number in range(40):
        body = "\n".join(f"    value_{place} = argument + {number}" for place in range(8))
        (folder / f"module{number}.py").write_text(
            f'def function_{number}(argument):\n    """Says in {number} plain words what the function is for."""\n'
            f"{body}\n    return value_0\n"
        )
    (folder / "broken.py").write_text("def")
    monkeypatch.setattr(stdlib, "get_paths", lambda: {"stdlib": str(folder)})
    return folder


def build(**options):
    defaults = {"eval_share": 0.3, "reserved_share": 0.0, "eval_material": ("sources",)}
    return StandardLibraryPairs(**defaults | options).build(None)


def test_splits_are_of_modules_and_the_same_every_time(library):
    splits = build()
    assert {name: rows.column_names for name, rows in splits.items()} == {
        "eval": ["query", "positive"],
        "train": ["query", "positive"],
    }
    assert len(splits["train"]) + len(splits["eval"]) == 40
    assert 8 <= len(splits["eval"]) <= 12
    assert not set(splits["train"]["positive"]) & set(splits["eval"]["positive"])
    check_dataset(StandardLibraryPairs(eval_share=0.3, eval_material=("sources",)))
    assert set(build(eval_share=0.0)) == {"train"}


def test_the_modules_held_out_are_those_that_stdlib_holds_out(library):
    for material, share in ((("sources",), 0.3), (("docstrings",), 0.2), (("topics", "sources"), 0.02)):
        for reserved in (0.0, 0.25):
            prose = StandardLibrary(material=material, eval_share=share, reserved_share=reserved).build(None)
            pairs = build(eval_material=material, eval_share=share, reserved_share=reserved)
            names = {f"module{text.split()[2]}" for text in pairs["eval"]["query"]} if "eval" in pairs else set()
            assert names == {f"module{number}" for number in range(40)} - set(prose["train"]["module"])
            assert set(prose["eval"]["module"]) >= names if not reserved else len(names) > 0


def test_what_is_reserved_changes_nothing_of_what_is_evaluated_on(library):
    plain, reserving = (
        StandardLibrary(material=("sources",), eval_share=0.1, reserved_share=share).build(None) for share in (0.0, 0.3)
    )
    assert plain["eval"]["text"][:] == reserving["eval"]["text"][:]
    assert set(reserving) == {"eval", "train"}
    trained = set(reserving["train"]["module"])
    assert trained < set(plain["train"]["module"])
    assert 26 >= len(trained) >= 22


def test_the_pretraining_recipe_holds_out_the_same_modules():
    """With its options as they are: an encoder that it makes has seen nothing that is evaluated on here."""
    recipe, defaults = load_recipe(RECIPE), StandardLibraryPairs()
    assert recipe.dataset.name == "stdlib"
    tuned = load_recipe(RECIPE.with_name("contrastive.toml")).dataset.sources
    for options in (defaults, *(source.options for source in tuned.values())):
        assert recipe.dataset.material == options.eval_material
        assert recipe.dataset.eval_share == options.eval_share
        assert recipe.dataset.reserved_share == options.reserved_share
    assert (recipe.dataset.roots, recipe.dataset.tests) == ((), False)


@pytest.mark.slow
def test_of_the_real_library():
    sources = list(stdlib.find_modules(()))
    held_out = held_out_modules(sources, StandardLibraryPairs())
    trained_on = set(load_recipe(RECIPE).dataset.options.build(None)["train"]["module"])
    assert not {source.module for source in sources if source.group in held_out} & trained_on
    splits = StandardLibraryPairs().build(None)
    assert len(splits["train"]) > 3500
    assert 450 < len(splits["eval"]) < 900  # of modules in the order of their hash, so by the version of Python
    assert all(count_words(text) >= 8 for rows in splits.values() for name in rows.column_names for text in rows[name])


def test_no_text_that_is_held_out_is_trained_on(library):
    for number in range(30):
        body = "\n".join(f"    one_{place} = two + three" for place in range(8))
        text = f'def f(argument):\n    """Says the same {"plain " * 6}words in every module."""\n{body}\n'
        (library / f"copy{number}.py").write_text(text + f"    return {number}\n")
    splits = build(forms=("docstring_code", "name_body"))
    held_out = {text for name in ("query", "positive") for text in splits["eval"][name]}
    assert any("in every module" in text for text in held_out)
    assert not held_out & {text for name in ("query", "positive") for text in splits["train"][name]}


def test_every_form_is_trained_on_and_docstrings_of_code_are_evaluated_on(library):
    plain = build()
    more = build(forms=("docstring_code", "name_body", "crops", "context"), eval_material=("topics", "sources"))
    assert set(plain["train"]["query"]) & set(more["train"]["query"])
    assert any(query.startswith("function ") for query in more["train"]["query"])
    assert len(more["train"]) > 500  # of the help topics
    assert all(query.startswith("Says in") for query in more["eval"]["query"])
    options = StandardLibraryPairs(eval_share=0.3, reserved_share=0.0)
    held_out = held_out_modules(stdlib.find_modules(()), options)
    topics = {document.group: document.text for document in stdlib._topics()}
    texts = set(more["train"]["query"])
    for group in held_out & topics.keys():
        assert not {query for query, _ in crop_pairs(topics[group])} & texts


def test_packages_alone_train_on_no_text_that_the_library_holds_out(library, tmp_path, monkeypatch):
    held_out = build()["eval"]
    package = tmp_path / "site" / "further"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for number in range(40):  # the library again, and a module of its own
        (package / f"copy{number}.py").write_text((library / f"module{number}.py").read_text())
    (package / "own.py").write_text((library / "module1.py").read_text().replace("Says in 1 plain", "Speaks in many"))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    splits = build(library=False, roots=("further",))
    assert set(splits) == {"train"}
    assert any(query.startswith("Speaks in many") for query in splits["train"]["query"])
    assert len(splits["train"]) == 41 - len(held_out)
    assert not set(held_out["query"]) & set(splits["train"]["query"])


def test_packages_alone_need_packages():
    with pytest.raises(RecipeError, match="no roots: that leaves nothing to train on"):
        load_recipe(
            RECIPE, ["--dataset={name = 'stdlib_pairs', library = false}", "--datacollator=pairs", "--loss=info_nce"]
        )


def test_read_once_until_a_file_changes(library, monkeypatch):
    first = build()
    real, parsed = ast.parse, []
    monkeypatch.setattr(ast, "parse", lambda *args: parsed.append(1) or real(*args))
    assert build()["train"]["query"][:] == first["train"]["query"][:]
    assert not parsed
    (library / "module0.py").write_text('"""Changed."""')
    build()
    assert parsed


def test_roots_are_found_without_being_imported(library, tmp_path, monkeypatch):
    package = tmp_path / "site" / "loud_package" / "inner"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text('raise RuntimeError("imported")\n')
    source = (library / "module1.py").read_text().replace("Says in 1 plain", "Speaks in many")
    (package / "deep.py").write_text(source)
    (package / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for root in ("loud_package", "loud_package.inner", "loud_package.inner.deep"):
        splits = build(roots=(root,))
        assert sum(query.startswith("Speaks in many") for query in splits["train"]["query"]) == 1
        assert not any(query.startswith("Speaks") for query in splits["eval"]["query"])
    assert "loud_package" not in sys.modules


def test_missing_roots_are_all_named(library):
    with pytest.raises(UserError, match=r"'no_such', 'loud_package\.x', 'not-a-name', which are not installed here"):
        build(roots=("no_such", "pluggy", "loud_package.x", "not-a-name"))


def test_nothing_to_read(library):
    with pytest.raises(UserError, match="no pair of the forms summary_rest"):
        build(forms=("summary_rest",))
