"""What was declared before anything ran: tests, families, rates, smallest effect to be found."""

from typing import Any

from pitboss.report.page.book import Book, Section
from pitboss.report.page.sections.readers import flat


def build(book: Book) -> Section | None:
    declared: Any = book.document("declaration")
    if not declared:
        return None
    rule = [declared["counted"]] if "counted" in declared else []
    powers = declared.get("power")
    power = powers if isinstance(powers, dict) else {}
    sentences = {
        where: found["sentences"] for where, found in power.items() if found.get("sentences")
    }
    rows = [row for row in flat(declared) if ".sentences" not in row[0] and row[0] != "counted"]
    return Section("declared", {"rule": rule, "power": sentences, "rows": rows})
