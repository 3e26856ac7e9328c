"""What mkdocs calls while it builds the site."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.exceptions import PluginError
from reference import PARTS

_MARK = re.compile(r"<!-- site: (\w+) -->.*", re.DOTALL)
_CODE = re.compile(r"<code>[^<]*</code>")
_NOTEST = re.compile(r"^(```\w+) notest$", re.MULTILINE)
_REMOTE = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"' >]+)""")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The parts that the code has, in their places; words for this project's own tests are left out of code blocks."""
    markdown = _MARK.sub(lambda found: PARTS[found[1]](), markdown)
    return _NOTEST.sub(r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """A bar in a table's code is written with a backslash, which this dialect of Markdown would show."""
    return _CODE.sub(lambda found: found[0].replace("\\|", "|"), html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuses a page that would fetch something from another place when it is read."""
    remote = [place for place in _REMOTE.findall(output) if 'rel="canonical"' not in place]
    if remote:
        msg = f"{page.file.src_path} fetches {', '.join(sorted(set(remote)))}"
        raise PluginError(msg)
    return output
