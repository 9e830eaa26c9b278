"""How quick the report of a study at full size is: 31 layers × 300 features, a million screened.

    python -m tests.browser.big_report [layers] [features a layer]

Prints how long the page takes to make, what it weighs, and how long Chromium needs to its first
view, to a search in the table, and to a card.
"""

import sys
import tempfile
import time
from pathlib import Path

from pitboss.report.page import render
from tests.browser import chromium
from tests.report import study

LOADED = "() => performance.getEntriesByType('navigation')[0].loadEventEnd"
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
TIMED = "what => { const began = performance.now(); eval(what); return performance.now() - began; }"


def main(layers: int = 31, per_layer: int = 300) -> None:
    with tempfile.TemporaryDirectory() as folder:
        # Fewer trials than the plan's 20: they weigh on the files, and not on the page.
        store = study.make(
            Path(folder), layers=layers, per_layer=per_layer, controls=60, trials=8, screened=32_768
        )
        began = time.monotonic()
        path = render.write(store)
        print(f"made in {time.monotonic() - began:.1f} s, {path.stat().st_size / 1e6:.1f} MB")
        look(path)


def look(path: Path) -> None:
    """Opens the page as a reader would."""
    with chromium.started() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(path.as_uri())
        page.wait_for_function(f"() => ({PAINTED})() > 0")
        print(f"first view {page.evaluate(PAINTED):.0f} ms, loaded {page.evaluate(LOADED):.0f} ms")
        for name, what in (
            ("sort", "document.querySelector('th[data-column=d] button').click()"),
            ("search", "const s = document.querySelector('[type=search]'); s.value = 'L17/F2';"
                       "s.dispatchEvent(new Event('input'))"),
            ("card", "openCard('L17/F2')"),
            ("volcano", "draw(document.querySelector('[data-plot=volcano]'))"),
            ("Korean", "speak('ko')"),
        ):  # fmt: skip
            print(f"{name} {page.evaluate(TIMED, what):.0f} ms")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
