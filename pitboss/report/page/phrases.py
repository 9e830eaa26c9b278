"""What a study's files say in words, in every language.

`phrases.json` holds the words as the files have them, with their varying parts in {braces}, beside
their Korean. A part that is itself known is said in its own turn, such as the reason in "no
decision in 4 responses, the last one unreadable". What is not known, such as the text of an error,
is shown as it is and marked as the files' own.
"""

import json
import re
from functools import cache

from markupsafe import Markup

from pitboss.report.page.strings import HERE

BRACES = re.compile(r"\{(\w+)\}")
ONE_WORD = {"model": r"[\w.-]+", "table": r"\w+"}
"""Parts that cannot hold a sentence; all others can be anything."""


@cache
def phrases() -> list[tuple[re.Pattern[str], str]]:
    """Pattern and Korean of every phrase, those with the most fixed letters first."""
    known: dict[str, str] = json.loads((HERE / "phrases.json").read_text("utf-8"))
    ordered = sorted(known, key=lambda english: (-len(BRACES.sub("", english)), english))
    return [(_pattern(english), known[english]) for english in ordered]


def told(text: str) -> Markup:
    """Words of a file in every language, of which the page shows one; marked if unknown."""
    korean = in_korean(text)
    if korean is None:
        return Markup('<span class="raw" lang="en">{}</span>').format(text)
    return Markup('<span lang="en">{}</span><span lang="ko">{}</span>').format(text, korean)


def told_if_known(text: str) -> Markup | str:
    """Words of a file in every language, or a value that is the same in all of them."""
    return text if in_korean(text) is None else told(text)


@cache
def in_korean(text: str) -> str | None:
    """The Korean of what a file says, or None where no phrase fits."""
    for pattern, korean in phrases():
        if found := pattern.fullmatch(text):
            parts = {name: in_korean(part) or part for name, part in found.groupdict().items()}
            return korean.format(**parts)
    return None


def _pattern(english: str) -> re.Pattern[str]:
    """Matches the words with anything in the place of the braces."""
    pieces = BRACES.split(english)  # fixed, name, fixed, name, ..., fixed
    return re.compile(
        "".join(
            f"(?P<{piece}>{ONE_WORD.get(piece, '.+?')})" if n % 2 else re.escape(piece)
            for n, piece in enumerate(pieces)
        ),
        re.DOTALL,
    )
