"""From files to layers: reads a recipe and what it extends, each value with its file and line."""

from __future__ import annotations

import os
from pathlib import Path

import tomli

from neobert.errors import Problem
from neobert.recipe.nodes import DEFAULT, UNSET, Node, at, node_tree, plain
from neobert.recipe.positions import key_lines, split_key
from neobert.toml_text import toml_text

DEFAULTS = Path(__file__).with_name("defaults.toml")


class SourceError(Exception):
    """A file that cannot be read as a recipe, in one line."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(reason)
        self.where = where
        self.reason = reason


def shown(path: Path) -> str:
    """The path as a person would write it: relative to the working directory where that is shorter."""
    absolute = os.path.abspath(path)
    try:
        relative = os.path.relpath(absolute)
    except ValueError:
        return absolute
    return min(relative, absolute, key=len)


def read_layers(path: Path, problems: list[Problem]) -> list[Node]:
    """The recipe's layers, lowest first: the defaults, what it extends (furthest first), the recipe itself.

    Faults are added to ``problems``; the layers that could be read are returned all the same.
    """
    layers: list[Node] = []
    chain: list[str] = []
    said = Node(str(path), shown(path))
    while True:
        try:
            tree = _read_file(path)
        except SourceError as error:
            problems.append(_unreadable(said, error, extended=bool(chain)))
            break
        chain.append(os.path.realpath(path))
        layers += _file_layers(tree, problems)
        extends = tree.value.pop("extends", None)
        if extends is None:
            break
        if not isinstance(extends.value, str) or not extends.value or "\0" in extends.value:
            message = "expected the path of another recipe, as a string"
            problems.append(Problem(extends.where, "extends", toml_text(plain(extends)), message))
            break
        said = extends
        path = path.parent / extends.value
        if os.path.realpath(path) in chain:
            problems.append(Problem(said.where, "extends", toml_text(said.value), _circle(chain, path)))
            break
    return [defaults_layer(), *reversed(layers)]


def defaults_layer() -> Node:
    """The lowest layer: the plugins that are named where a recipe names none."""
    return node_tree(tomli.loads(DEFAULTS.read_text(encoding="utf-8")), DEFAULT)


def _read_file(path: Path) -> Node:
    where = shown(path)
    try:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        tree = tomli.loads(text)
    except FileNotFoundError:
        raise SourceError(where, _missing(path)) from None
    except IsADirectoryError:
        raise SourceError(where, "is a folder; a recipe is a TOML file") from None
    except OSError as error:
        raise SourceError(where, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SourceError(where, f"is not UTF-8 text (byte {error.start}), so it is no recipe") from None
    except tomli.TOMLDecodeError as error:
        raise SourceError(f"{where}:{error.lineno}", f"not valid TOML: {error.msg} (column {error.colno})") from None
    except RecursionError:
        raise SourceError(where, "not valid TOML: nested too deeply") from None
    return node_tree(tree, {key: f"{where}:{line}" for key, line in key_lines(text).items()})


def _missing(path: Path) -> str:
    from difflib import get_close_matches

    folder = path.parent
    if not folder.is_dir():
        return f"there is no such recipe, and no folder {shown(folder)}"
    near = get_close_matches(path.stem, sorted(entry.stem for entry in folder.glob("*.toml")), n=1)
    hint = f"; did you mean {shown(folder / near[0])}.toml?" if near else ""
    return f"there is no such recipe{hint}"


def _unreadable(said: Node, error: SourceError, *, extended: bool) -> Problem:
    if not extended:
        return Problem(error.where, "", None, error.reason)
    return Problem(said.where, "extends", toml_text(said.value), f"{error.where}: {error.reason}")


def _circle(chain: list[str], path: Path) -> str:
    circle = [*chain[chain.index(os.path.realpath(path)) :], str(path)]
    return "recipes extend each other in a circle: " + " -> ".join(shown(Path(step)) for step in circle)


def _file_layers(tree: Node, problems: list[Problem]) -> list[Node]:
    """The file's own layers, highest first: what it sets, and over that what its ``unset`` list unsets.

    TOML has no null: ``unset = ["trainer.gradient_clipping"]`` says in a file what ``none`` says elsewhere.
    """
    unset = tree.value.pop("unset", None)
    if unset is None:
        return [tree]
    layers = []
    names = unset.value if isinstance(unset.value, list) else [unset]
    for name in names:
        path = split_key(name.value) if isinstance(name.value, str) and name is not unset else None
        if path is None:
            message = 'expected a list of dotted keys, such as ["trainer.gradient_clipping"]'
            problems.append(Problem(unset.where, "unset", toml_text(plain(unset)), message))
            break
        layers.append(at(path, Node(UNSET, name.where)))
    return [*layers, tree]
