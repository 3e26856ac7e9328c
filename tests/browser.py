"""A page in a real browser: how it looks, what it says in its console, and what it asks the network for.

    python -m tests.browser PAGE PICTURE [light|dark] [WIDTH]

Needs selenium, and Chromium with its driver (Debian: ``chromium`` and ``chromium-driver``).
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str:
    """What a browser needs and is not here; empty where nothing is missing."""
    import importlib.util

    wanted = {
        "selenium": importlib.util.find_spec("selenium"),
        "chromium": next(filter(None, map(shutil.which, _BROWSERS)), None),
        "chromedriver": shutil.which("chromedriver"),
    }
    return ", ".join(name for name, found in wanted.items() if not found)


class Browser:
    """Chromium, driven. One page at a time."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.driver.get("about:blank")
        self.requests()  # those of the browser's own first page

    def open(self, page: Path, *, width: int = 1200, height: int = 900, scheme: str = "light") -> None:
        """Loads a file at this width, and this ``prefers-color-scheme``."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        self.driver.get(page.absolute().as_uri())

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script in the page returns."""
        return self.driver.execute_script(script, *arguments)

    def picture(self, file: Path, *, height: int | None = None) -> None:
        """A PNG of the whole page, or of so much of it from its top."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(shot["data"]))

    def said(self) -> list[str]:
        """What came in its console since this was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since this was asked last."""
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [it["params"]["request"]["url"] for it in messages if it["method"] == "Network.requestWillBeSent"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Started, and ended."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = next(filter(None, map(shutil.which, _BROWSERS)))
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()


def main(page: str, picture: str, scheme: str = "light", width: str = "1200", height: str = "0") -> None:
    with browser() as chromium:
        chromium.open(Path(page), width=int(width), scheme=scheme)
        chromium.picture(Path(picture), height=int(height) or None)
        print(*chromium.said(), *chromium.requests(), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
