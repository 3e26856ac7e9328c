"""Which values of a recipe are paths, and how they are made independent of the working directory.

A `Path` always is one. A field of strings says so in its metadata: ``{"path": True}`` is always a path,
``{"path": "if_exists"}`` is one where such a file or folder exists (else it is a hub name), and ``"words": (...)``
lists values that are no paths.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import Attribute


def absolute_paths(value: Any, attribute: Attribute[Any] | None) -> Any:
    """A value of the field with its paths absolute, as strings; in lists and tables too."""
    if isinstance(value, os.PathLike):
        return os.path.abspath(value)
    if isinstance(value, list | tuple):
        return [absolute_paths(item, attribute) for item in value]
    if isinstance(value, Mapping):
        return {key: absolute_paths(item, attribute) for key, item in value.items()}
    metadata = attribute.metadata if attribute is not None else {}
    means = metadata.get("path")
    if not means or not isinstance(value, str) or value in metadata.get("words", ()) or "://" in value:
        return value
    if means == "if_exists" and not os.path.exists(value):
        return value
    return os.path.abspath(value)
