"""``--version``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neobert.commands.arguments import Arguments


def run(arguments: Arguments) -> int:
    try:
        print(f"neobert {version('neobert')}")
    except PackageNotFoundError:
        print("neobert (not installed)")
    return 0
