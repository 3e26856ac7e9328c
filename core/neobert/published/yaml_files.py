"""Settings files as their tools read them: YAML with groups, references and variables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import frozen

from neobert.errors import UserError
from neobert.run_folder import not_there

MAIN = "pretraining.yaml"
"""What a folder of settings stands for."""
_REFERENCE = re.compile(r"\$\{([^${}]+)\}|\{\$(variables\.[\w.-]+)\}|\$(variables\.[\w.-]+)")
_DEEPEST = 20


@frozen
class Settings:
    """What a file says, groups merged and references filled in."""

    tree: dict[str, Any]
    groups: tuple[str, ...]
    """Files that were merged, as ``model/250M``; empty for a file without a defaults list."""


def read_settings(path: Path) -> Settings:
    """Raises UserError with file and line where it cannot be read, and with all references that lead nowhere."""
    if path.is_dir():
        path = path / MAIN
    if not path.is_file():
        msg = f"there are no settings at {path}: {not_there(path)}"
        raise UserError(msg)
    groups: list[str] = []
    tree = _composed(path, path.parent, groups)
    faults: list[str] = []
    resolved = _resolved(tree, tree, faults)
    if faults:
        raise UserError("\n".join(f"{path}: {fault}" for fault in dict.fromkeys(faults)))
    return Settings({key: value for key, value in resolved.items() if key != "variables"}, tuple(groups))


def _composed(path: Path, root: Path, groups: list[str]) -> dict[str, Any]:
    """A file with what its defaults list names, later ones over earlier ones; the file itself stands where ``_self_``
    does, or last of all."""
    own = _read(path)
    listed = own.pop("defaults", None)
    if listed is None:
        return own
    if not isinstance(listed, list):
        msg = f"{path}: defaults: expected a list, got {listed!r}"
        raise UserError(msg)
    merged: dict[str, Any] = {}
    for item in [*listed, *(["_self_"] if "_self_" not in listed else [])]:
        if item == "_self_":
            merged = _merged(merged, own)
            continue
        for group, name in _named(item, path):
            folder = root if not group else root / group
            file = folder / f"{name}.yaml" if group else path.parent / f"{name}.yaml"
            if not file.is_file():
                msg = f"{path}: defaults name {group or name}: {name}, and there is no file {file}"
                raise UserError(msg)
            groups.append(f"{group}/{name}" if group else name)
            found = _composed(file, folder, groups)
            merged = _merged(merged, {group: found} if group else found)
    return merged


def _named(item: Any, path: Path) -> Iterator[tuple[str, str]]:
    """(group, name) pairs of an entry of a defaults list: ``name``, ``{group: name}``, ``{group: [name, name]}``."""
    if isinstance(item, str):
        yield "", item
        return
    if isinstance(item, Mapping) and len(item) == 1:
        (group, names), *_ = item.items()
        group = str(group).removeprefix("override ").removeprefix("optional ").lstrip("/").partition("@")[0]
        if names is None:
            return
        if isinstance(names, str | list):
            yield from ((group, str(name)) for name in ([names] if isinstance(names, str) else names))
            return
    msg = f"{path}: defaults: expected names and {{group: name}}, got {item!r}"
    raise UserError(msg)


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path} cannot be read as YAML: {' '.join(str(error).split())}"
        raise UserError(msg) from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        msg = f"{path}: expected settings, as `key: value`, got {type(tree).__name__}"
        raise UserError(msg)
    return tree


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Numbers as hydra reads them (``1e-4``), and no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice!r} stands there twice", node.start_mark
            )
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _resolved(value: Any, tree: Mapping[str, Any], faults: list[str], depth: int = 0) -> Any:
    """With every reference filled in; one that is all of a text keeps its type."""
    if isinstance(value, dict):
        return {key: _resolved(item, tree, faults, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, tree, faults, depth) for item in value]
    if not isinstance(value, str) or not _REFERENCE.search(value):
        return value
    if depth > _DEEPEST:
        faults.append(f"{value!r} leads back to itself")
        return value

    def look(found: re.Match[str]) -> Any:
        return _looked_up(next(filter(None, found.groups())), tree, faults)

    if (whole := _REFERENCE.fullmatch(value)) is not None:
        return _resolved(look(whole), tree, faults, depth + 1)
    return _resolved(_REFERENCE.sub(lambda found: str(look(found)), value), tree, faults, depth + 1)


def _looked_up(name: str, tree: Mapping[str, Any], faults: list[str]) -> Any:
    if name.startswith("oc.env:"):
        variable, comma, fallback = name.removeprefix("oc.env:").partition(",")
        if variable not in os.environ and not comma:
            faults.append(f"${{{name}}}: the environment has no {variable}; set it, or write its value")
        return os.environ.get(variable, fallback)
    value: Any = tree
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            faults.append(f"{name!r} is referred to, and is not there")
            return ""
        value = value[part]
    return value
