"""The page's texts in its languages."""

import json
from functools import cache
from pathlib import Path

from markupsafe import Markup, escape

LANGUAGES = ("en", "ko")
HERE = Path(__file__).parent


@cache
def texts(language: str) -> dict[str, str]:
    """All texts of a language by key."""
    found: dict[str, str] = json.loads((HERE / f"strings_{language}.json").read_text("utf-8"))
    return found


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
