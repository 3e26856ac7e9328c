"""New plugins: a small, complete, tested distribution of each kind, to begin with and to change.

The templates are files as they are written (``templates/common`` and one folder a kind), in which a few words stand for
names; linters and type checkers read them as they are.
"""

from __future__ import annotations

from neobert.scaffold.names import Names, names_for
from neobert.scaffold.render import rendered
from neobert.scaffold.write import write_plugin

__all__ = ["Names", "names_for", "rendered", "write_plugin"]
