"""Which values of a recipe are paths, and how they are made independent of who reads them where.

A `Path` always is one. A field of strings says so in its metadata: ``{"path": True}`` is always a path,
``{"path": "if_exists"}`` is one where such a file or folder exists (else it is a hub name), and ``"words": (...)``
lists values that are no paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import Attribute


def absolute_paths(value: Any, attribute: Attribute[Any] | None) -> Any:
    """A value of the field with its paths absolute, as strings; in lists and tables too."""
    return _with_paths(value, attribute, os.path.abspath)


def home_expanded(value: Any, attribute: Attribute[Any] | None) -> Any:
    """A value of the field with a leading ``~`` of its paths expanded: no shell does that inside a TOML file."""
    return _with_paths(value, attribute, _expand)


def _with_paths(value: Any, attribute: Attribute[Any] | None, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, os.PathLike):
        return change(value)
    if isinstance(value, list | tuple):
        items = [_with_paths(item, attribute, change) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, Mapping):
        return {key: _with_paths(item, attribute, change) for key, item in value.items()}
    return change(value) if isinstance(value, str) and _is_path(value, attribute) else value


def _is_path(value: str, attribute: Attribute[Any] | None) -> bool:
    metadata = attribute.metadata if attribute is not None else {}
    means = metadata.get("path")
    if not means or value in metadata.get("words", ()) or "://" in value:
        return False
    return means != "if_exists" or os.path.exists(os.path.expanduser(value))


def _expand(path: Any) -> Any:
    return path.expanduser() if isinstance(path, Path) else os.path.expanduser(path)
