"""What the documentation points at is there: files, headings, and the tests that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"`([\w/]+)::(test_\w+)`")
ROW = re.compile(r"^\| ([A-D]\d+b?) \|(.*)\|$", re.MULTILINE)


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The names that headings have as places of a page."""
    headings = re.findall(r"^#+ (.*)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, place = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not place or target.suffix != ".md" or place in anchors(target), link


def test_every_test_that_the_failures_name_exists() -> None:
    named = NAMED.findall((ROOT / "docs" / "failures.md").read_text(encoding="utf-8"))
    assert len(named) > 40
    for file, test in named:
        text = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
        assert f"\ndef {test}(" in text, f"{file}::{test}"


def test_every_failure_has_one_row_and_names_a_test_or_says_why_it_cannot_occur() -> None:
    rows = ROW.findall((ROOT / "docs" / "failures.md").read_text(encoding="utf-8"))
    ids = [id for id, _ in rows]
    assert len(set(ids)) == len(ids)
    parts = {"A": 19, "B": 14, "C": 8, "D": 18}
    assert set(ids) == {f"{part}{n + 1}" for part in parts for n in range(parts[part])} | {"C4b"}
    for id, row in rows:
        last = row.split("|")[-1]
        assert NAMED.search(last) or "Cannot occur:" in last, id
