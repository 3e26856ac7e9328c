"""Which values of a recipe are paths, and how they are made independent of the working directory.

A field says so in its metadata: ``{"path": True}`` is always a path, ``{"path": "if_exists"}`` is one where
such a file or folder exists (else it is a hub name), and ``"words": (...)`` lists values that are no paths.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attrs import Attribute


def absolute_paths(value: Any, attribute: Attribute[Any]) -> Any:
    """A TOML value of the field with its paths absolute; lists and tables of paths too."""
    if isinstance(value, list):
        return [absolute_paths(item, attribute) for item in value]
    if isinstance(value, dict):
        return {key: absolute_paths(item, attribute) for key, item in value.items()}
    means = attribute.metadata.get("path", attribute.type in (Path, "Path", "Path | None"))
    if (
        not means
        or not isinstance(value, str)
        or value in attribute.metadata.get("words", ())
        or "://" in value
    ):
        return value
    if means == "if_exists" and not os.path.exists(value):
        return value
    return os.path.abspath(value)
