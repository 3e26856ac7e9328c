"""The picture of the README: the top of a run's report.

    python -m tests.report_picture RUN docs/images/report.png

Needs what `tests.browser` needs; looks the way it does where the font Inter is installed.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.browser import browser, missing

from neobert.cli import main as neobert_run

UNTIL = """
const section = [...document.querySelectorAll('h2')].find((it) => it.textContent === arguments[0]).closest('section');
return Math.ceil(section.getBoundingClientRect().bottom + scrollY) + 24;
"""


def main(run: str, picture: str, until: str = "Evaluation") -> None:
    """Of the page from its top to the end of a section."""
    if missing():
        sys.exit(f"not installed: {missing()}")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        if neobert_run(("--report", run, "--output", str(page))):
            sys.exit(f"{run} has no report")
        with browser() as chromium:
            chromium.open(page, width=1100)
            chromium.picture(Path(picture), height=chromium.run(UNTIL, until))
    print(f"{picture}: {Path(picture).stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
