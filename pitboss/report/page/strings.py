"""The page's texts in its languages."""

import json
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

LANGUAGES = ("en", "ko")
HERE = Path(__file__).parent


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of a language by key: of the sections, and the labels of what they show."""
    return {
        key: text
        for file in ("strings", "labels")
        for key, text in json.loads((HERE / f"{file}_{language}.json").read_text("utf-8")).items()
    }


def said(key: str, **parts: object) -> Markup:
    """A text in every language at once, of which the page shows one.

    Args:
        key: Name of the text; a missing one is a KeyError, never an empty place.
        parts: What stands in its braces; escaped unless it is markup.
    """
    each = (
        Markup('<span lang="{}">{}</span>').format(
            language, Markup(escape(texts(language)[key])).format(**parts)
        )
        for language in LANGUAGES
    )
    return Markup("").join(each)


def named(group: str, name: str) -> Markup | str:
    """What a table's name is called, such as the arm safe; one without a label stays as it is."""
    key = f"{group}.{name}"
    return said(key) if key in texts("en") else name
