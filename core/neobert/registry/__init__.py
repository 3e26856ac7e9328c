"""Which plugins are installed, and which of them a recipe can name.

Discovery walks the entry points of the group ``neobert.plugins`` and guards every step: a plugin that fails
is listed as broken, and everything else works.
"""

from __future__ import annotations

import functools

from neobert.registry.discovery import GROUP, load_registry
from neobert.registry.plugin import Broken, Clash, Plugin, Source
from neobert.registry.registry import (
    BrokenPluginError,
    ClashError,
    PluginError,
    Registry,
    UnknownPluginError,
    UnusablePluginError,
)

__all__ = [
    "GROUP",
    "Broken",
    "BrokenPluginError",
    "Clash",
    "ClashError",
    "Plugin",
    "PluginError",
    "Registry",
    "Source",
    "UnknownPluginError",
    "UnusablePluginError",
    "default_registry",
    "load_registry",
]


@functools.cache
def default_registry() -> Registry:
    """The registry of this process: discovery happens once, at the first use."""
    return load_registry()
