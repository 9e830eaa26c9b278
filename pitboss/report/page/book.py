"""What sections are made with and what they are."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from pitboss.report.page.data import Tables
from pitboss.report.page.numbers import Ledger
from pitboss.store import Store


class Section(NamedTuple):
    """One section of the page.

    Attributes:
        key: Its anchor, its template `<key>.html` and the beginning of its texts' keys.
        context: What its template shows.
        data: What its plots and tables draw in the browser: name -> plain data.
    """

    key: str
    context: Mapping[str, Any]
    data: Mapping[str, Any] = {}


class Book:
    """The study's tables, and the numbers that sections have put on the page."""

    def __init__(self, store: Store) -> None:
        self.tables = Tables(store)
        self.ledger = Ledger()
        self.manifest: dict[str, Any] = store.manifest
        self.summary: dict[str, Any] = self.tables.document("summary.json") or {}
