"""Take the pictures of docs/web.md: every page of a service that holds finished experiments.

``python tests/experiments/web/pictures.py ADDRESS FOLDER``; the newest experiment is shown, and compared with the
one before it.
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Page

_NARROW, _WIDE = 390, 1200
_SHOWN_WIDTH = 1000
_QUALITY = 82


@dataclass(frozen=True)
class Shot:
    """A picture: its name, the page, how high it is at most, and for whom."""

    name: str
    path: str
    height: int
    theme: Literal["light", "dark"] = "light"
    width: int = _WIDE


def shots(page: Page, base: str) -> Iterator[Shot]:
    """Every page, once in light and once in dark, and two on a telephone."""
    page.goto(f"{base}/experiments")
    newest, older = page.locator("tbody th a").evaluate_all("all => all.slice(0, 2).map(a => a.pathname)")
    page.goto(base + newest)
    chosen = page.locator("#members tbody tr").first.locator("th a").get_attribute("href")
    page.goto(f"{base}/predictors")
    predictor = page.locator("tbody th a").first.get_attribute("href")
    ids = "&".join(f"experiment={one.rpartition('/')[2]}" for one in (newest, older))
    places = {
        "experiments": ("/experiments", 640),
        "new": (f"/experiments/new?like={newest.rpartition('/')[2]}", 1300),
        "experiment": (newest, 2600),
        "candidate": (chosen, 2000),
        "compare": (f"/compare?{ids}", 1300),
        "devices": ("/devices", 700),
        "device": ("/devices/bitfusion", 900),
        "predictors": ("/predictors", 500),
        "predictor": (predictor, 1200),
        "missing": (f"{newest}x", 400),
        "sign-in": ("/sign-in", 400),
    }
    for name, (path, height) in places.items():
        assert path is not None
        yield Shot(name, path, height)
        yield Shot(f"{name}-dark", path, height, "dark")
    yield Shot("experiment-narrow", newest, 2400, width=_NARROW)
    yield Shot("candidate-narrow", str(chosen), 2400, width=_NARROW)


def main(base: str, folder: Path) -> None:
    """Write every picture."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        first = browser.new_page()
        for shot in shots(first, base):
            page = browser.new_page(viewport={"width": shot.width, "height": 900}, color_scheme=shot.theme)
            page.goto(base + shot.path)
            for part in page.locator("[data-load]").all():  # what is asked for when it comes near
                part.scroll_into_view_if_needed()
                part.locator("table").wait_for()
            page.wait_for_timeout(1500)
            whole = Image.open(io.BytesIO(page.screenshot(full_page=True)))
            cut = whole.crop((0, 0, whole.width, min(whole.height, shot.height)))
            if shot.width > _SHOWN_WIDTH:
                cut = cut.resize((_SHOWN_WIDTH, cut.height * _SHOWN_WIDTH // cut.width), Image.Resampling.LANCZOS)
            cut.convert("RGB").save(folder / f"{shot.name}.webp", quality=_QUALITY, method=6)
            page.close()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
