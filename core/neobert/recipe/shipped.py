"""The recipes that come with the tool: found by name, listed, and copied to be changed."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import tomli

from neobert.errors import UserError
from neobert.files import write_text

_PACKAGE = Path(__file__).resolve().parent.parent
_PLACES = (_PACKAGE / "shipped_recipes", _PACKAGE.parent.parent / "recipes")
"""In an installed wheel; in a checkout."""


def shipped_folder() -> Path | None:
    """Where they are; None in an installation that left them out."""
    return next((place for place in _PLACES if place.is_dir()), None)


def shipped_recipes() -> dict[str, Path]:
    """Name, such as ``pretrain`` or ``neobert/stage1`` -> file, in the order of names, those of a folder last."""
    folder = shipped_folder()
    if folder is None:
        return {}
    files = sorted(folder.rglob("*.toml"), key=lambda file: (len(file.parts), file.name))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def recipe_path(said: str) -> Path:
    """The file that a command line means: a path, or the name of a shipped recipe where no such file is."""
    path = Path(said)
    if path.exists() or path.suffix:
        return path
    return shipped_recipes().get(said, path)


def about(file: Path) -> str:
    """What a recipe says of itself: the first sentence of the comment at its top."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines).partition(". ")[0].rstrip(".")


def copy_recipe(name: str, target: Path) -> list[Path]:
    """Copies a shipped recipe to ``target``, and beside it the recipes that it extends; returns the files written.

    Raises UserError for an unknown name, and where a file is there already that is another.
    """
    recipes = shipped_recipes()
    if name not in recipes:
        near = get_close_matches(name, recipes, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        msg = f"there is no shipped recipe {name!r}{hint}\nshipped: {', '.join(recipes) or 'none'}"
        raise UserError(msg)
    texts = {target: recipes[name].read_text(encoding="utf-8")}
    source, copy = recipes[name], target
    while (extended := _extended(texts[copy])) is not None:
        source, copy = source.parent / extended, copy.parent / extended
        texts[copy] = source.read_text(encoding="utf-8")
    taken = [file for file, text in texts.items() if file.exists() and _another(file, text)]
    if taken:
        msg = f"{', '.join(map(str, taken))} is there already: name another file, in another folder"
        raise UserError(msg)
    written = [file for file in texts if not file.exists()]
    for file in written:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, texts[file])
    return written


def _extended(text: str) -> str | None:
    found = tomli.loads(text).get("extends")
    return None if found is None else str(found)


def _another(file: Path, text: str) -> bool:
    try:
        return file.read_text(encoding="utf-8") != text
    except (OSError, UnicodeDecodeError):
        return True
