"""The templates of a kind, with names in place of the words that stand for them."""

from __future__ import annotations

import ast
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import tomlkit

from neobert.errors import UserError

if TYPE_CHECKING:
    from neobert.scaffold.names import Names

TEMPLATES = Path(__file__).with_name("templates")
_COMMON = TEMPLATES / "common"
_PLUGIN = PurePosixPath("src/plugin_package/plugin.py")
_RECIPE = PurePosixPath("recipe.toml")
_TEMPLATE = ".template"
"""How the name of a file ends that version control, packagers or linters would obey where it is."""


def rendered(names: Names, kind: str) -> dict[PurePosixPath, str]:
    """Path in the new distribution -> text, of every file; one kind's files stand for common ones of their name."""
    common, own = _files(_COMMON), _files(TEMPLATES / kind)
    part = own[_RECIPE]
    files = common | own | {_RECIPE: with_part(common[_RECIPE], part)}
    words = _words(names, kind, own, part)
    return {_place(path, words): _filled(text, words) for path, text in sorted(files.items())}


def with_part(recipe: str, part: str) -> str:
    """A recipe with the tables of another: one that names a plugin stands for the first's, any other is added to it."""
    base = tomlkit.parse(recipe)
    for key, value in tomlkit.parse(part).items():
        if isinstance(value, dict) and "name" not in value and key in base:
            table: Any = base[key]
            table.update(value)
        else:
            base[key] = value
    tables = (f"{line}\n" for line in tomlkit.dumps(base).splitlines())
    return re.sub(r"\n*\n(?=\[)", "\n\n", "".join(tables))


def module_of(kind: str) -> str:
    """The name of the module with what the options build."""
    (module,) = (path.stem for path in _files(TEMPLATES / kind) if path.parent == _PLUGIN.parent and path != _PLUGIN)
    return module


def _files(folder: Path) -> dict[PurePosixPath, str]:
    return {
        PurePosixPath(file.relative_to(folder).as_posix()): file.read_text(encoding="utf-8")
        for file in sorted(folder.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def _words(names: Names, kind: str, own: dict[PurePosixPath, str], part: str) -> dict[str, str]:
    """Word of the templates -> what stands there; what may hold further words is filled already."""
    words = {
        "plugin-distribution": names.distribution,
        "plugin_package": names.package,
        "plugin_name": names.plugin,
        "PluginOptions": names.options_class,
        "plugin_kind": kind,
        "plugin_module": module_of(kind),
        "plugin_summary": _summary(own[_PLUGIN]),
        "plugin_core_version": _own_version(),
    }
    return words | {"plugin_recipe_part": _filled(part, words).strip()}


def _own_version() -> str:
    """What a new distribution asks for at least: the version that its templates are of."""
    try:
        return version("neobert")
    except PackageNotFoundError as error:
        msg = "the distribution neobert is not installed here, so no plugin would be found: pip install -e ."
        raise UserError(msg) from error


def _summary(source: str) -> str:
    """The first line of the options class's docstring: what `--list-plugins` prints."""
    (options,) = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    return (ast.get_docstring(options) or "").partition("\n")[0]


def _filled(text: str, words: dict[str, str]) -> str:
    """All words at once: a name that is such a word itself is left as it is."""
    return re.sub("|".join(map(re.escape, words)), lambda found: words[found[0]], text)


def _place(path: PurePosixPath, words: dict[str, str]) -> PurePosixPath:
    return PurePosixPath(_filled(str(path).removesuffix(_TEMPLATE), words))
