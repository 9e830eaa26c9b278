"""What was declared before anything ran: tests, families, rates, smallest effect to be found."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.sections.readers import flat


def build(book: Book) -> Section | None:
    declared: Any = book.tables.document("declaration.json")
    return Section("declared", {"rows": flat(declared)}) if declared else None
