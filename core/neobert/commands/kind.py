"""The name of a kind on the command line."""

from __future__ import annotations

import difflib

from neobert.errors import UserError
from neobert.kinds import KINDS


def known_kind(name: str) -> str:
    """The name, if it is a kind's; else a `UserError` with the nearest."""
    if name in KINDS:
        return name
    nearest = difflib.get_close_matches(name, KINDS, n=1)
    hint = f'; did you mean "{nearest[0]}"?' if nearest else ""
    msg = f'unknown kind "{name}"{hint}\n  kinds: {", ".join(KINDS)}'
    raise UserError(msg)
