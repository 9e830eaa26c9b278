"""All settings that results depend on, with versions and fingerprint."""

from pitboss.report.page.book import Book, Section
from pitboss.report.page.sections.readers import flat


def build(book: Book) -> Section | None:
    rest = {k: v for k, v in book.reader.settings.items() if k != "versions"}
    context = {
        "rows": flat(rest),
        "versions": flat(book.reader.settings.get("versions", {})),
        "fingerprint": book.summary.get("fingerprint"),
    }
    return Section("settings", context)
