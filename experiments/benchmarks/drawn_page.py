"""How long a page takes in a browser until its plot is drawn."""

from __future__ import annotations

import importlib.util
import shutil
import time

from bitfront.supernet.errors import UnsupportedError

_DRAWN = "#scatter[data-drawn]"
_MILLISECONDS = 60_000


def seconds_until_drawn(url: str, times: int) -> list[float]:
    """Seconds from asking for ``url`` until its scatter plot is there, each time with an empty cache.

    Raises:
        UnsupportedError: Chromium or Playwright is not installed.
    """
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        raise UnsupportedError(
            "there is no Chromium (apt-get install chromium) or no playwright (pip install) here"
        )
    from playwright.sync_api import sync_playwright

    found = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(times):
            context = browser.new_context(viewport={"width": 1200, "height": 900})
            page = context.new_page()
            page.set_default_timeout(_MILLISECONDS)
            began = time.perf_counter()
            page.goto(url)
            page.locator(_DRAWN).first.wait_for()
            found.append(time.perf_counter() - began)
            context.close()
        browser.close()
    return found
