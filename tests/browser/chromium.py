"""The machine's own Chromium, and the pictures that it takes for the docs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def started() -> Iterator[Any]:
    """A browser without a window, for as long as it is needed."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=PROGRAM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


def picture(page: Any, name: str, settle: int) -> None:
    """Keeps what the page shows, `settle` ms from now, if PITBOSS_PICTURES names a folder."""
    if folder := os.environ.get("PITBOSS_PICTURES"):
        page.wait_for_timeout(settle)
        page.screenshot(path=str(ROOT / folder / f"{name}.png"))
