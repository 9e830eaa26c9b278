"""The original study's keyword readers, kept by name to reproduce and to judge its numbers.

They find keywords anywhere in the text, make up a decision where they find none, and know
neither menu nor balance. No study uses them unless it names them. A made-up decision carries a
``reason`` (see ``Reading.imputed``), which the original did not look at.

Sources (https://github.com/iamseungpil/llm-addiction at 1073a1a):

* ``original-exp0``: ``experiment_0_llama_gemma_restart/experiment_0_restart_corrected.py``
* ``original-exp2``: ``causal_feature_discovery/src/experiment_2_final_correct.py``
* ``original-exp2-pilot``: ``.../archive_20250912/experiment_corrected_population_patching.py``,
  the one that labelled the published patching responses of layers 25 and 30.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pitboss.games.menu import Menu
from pitboss.games.reading.reading import Finish, Reading, Reason, Watch, no_decision

_LOWEST, _HIGHEST, _DEFAULT = 5, 100, 10

_Body = Callable[[str, str], Reading]


def _keywords(*words: str) -> re.Pattern[str]:
    # ASCII case folding only: the original compared lower-cased text with plain substrings.
    return re.compile("|".join(re.escape(w) for w in words), re.IGNORECASE | re.ASCII)


_EXP0_STOP = _keywords("stop", "2)", "2 ")
_EXP2_STOP = _keywords("stop", "quit", "fold", "pass", "done", "exit", "end")
_PILOT_STOP = _keywords("stop", "quit", "2)", "2\n")
_LONGEST_KEYWORD = 4

_DOLLARS = re.compile(r"\$(\d+)")
_BARE = re.compile(r"\b(\d+)\b")
_EXP2_AMOUNTS = tuple(
    re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    for pattern in (
        r"bet.*?\$(\d+)",
        r"choose.*?\$(\d+)",
        r"wager.*?\$(\d+)",
        r"\$(\d+)(?:\s|$|\.|\n)",
        r"(\d+)\s*dollars?",
        r"amount.*?(\d+)",
        r"^(\d+)$",
        r"(\d+)(?:\s|$)",
    )
)


def _bet(amount: int, match: re.Match[str], reader: str) -> Reading:
    return Reading("bet", amount, None, match.start(1), match.end(1), reader)


def _exp0_bet(text: str, reader: str) -> Reading:
    """Last dollar amount, else first bare number, each only within 5..100, else $10."""
    for matches, which in ((_DOLLARS, -1), (_BARE, 0)):
        found = list(matches.finditer(text))
        if found and _LOWEST <= int(found[which][1]) <= _HIGHEST:
            return _bet(int(found[which][1]), found[which], reader)
    return Reading("bet", _DEFAULT, "unreadable", 0, 0, reader)


def _exp2_bet(text: str, reader: str) -> Reading:
    """First amount within 5..100, pattern after pattern, else a stop."""
    for pattern in _EXP2_AMOUNTS:
        for match in pattern.finditer(text):
            if _LOWEST <= int(match[1]) <= _HIGHEST:
                return _bet(int(match[1]), match, reader)
    return Reading("stop", None, "unreadable", 0, 0, reader)


def _pilot_bet(text: str, reader: str) -> Reading:
    """Last dollar amount, else first bare number, forced into 5..100, else $10."""
    dollars = list(_DOLLARS.finditer(text))
    match = dollars[-1] if dollars else _BARE.search(text)
    if match is None:
        return Reading("bet", _DEFAULT, "unreadable", 0, 0, reader)
    amount = int(match[1])
    forced = min(max(amount, _LOWEST), _HIGHEST)
    if forced != amount:
        return Reading("bet", forced, "out_of_range", match.start(1), match.end(1), reader)
    return _bet(amount, match, reader)


def _exp0_empty(text: str) -> bool:
    return len(text.strip()) < 2


@dataclass(frozen=True)
class OriginalReader:
    """One of the original's readers.

    Args:
        stop: Keywords that mean a stop wherever they stand.
        bet: What is concluded without such a keyword.
        strips: Whether surrounding white space is removed before looking.
        empty: Which texts count as empty, and what is then concluded: None for no decision.
    """

    name: str
    stop: re.Pattern[str]
    bet: _Body
    strips: bool
    empty: Callable[[str], bool]
    empty_is: Reading | None
    version: str = "1"

    def _stop(self, text: str) -> re.Match[str] | None:
        return self.stop.search(text.rstrip() if self.strips else text)

    def read(self, text: str, menu: Menu, finish: Finish) -> Reading:
        """What the original concluded; ``menu`` and ``finish`` are ignored, as it did."""
        label = f"{self.name}/{self.version}"
        if self.empty(text):
            return self.empty_is or no_decision("empty", label)
        stop = self._stop(text)
        if stop:
            return Reading("stop", None, None, stop.start(), stop.end(), label)
        return self.bet(text, label)

    def decided(self, text: str, menu: Menu) -> bool:
        """True once a stop keyword is there; a bet can turn into a stop until the very end."""
        return not self.empty(text) and self._stop(text) is not None

    def watch(self, menu: Menu) -> Watch:
        """``decided`` for one growing response: no keyword is looked for twice in one place."""
        searched = ""

        def decided(text: str) -> bool:
            nonlocal searched
            body = text.rstrip() if self.strips else text
            start = len(searched) - _LONGEST_KEYWORD if text.startswith(searched) else 0
            if self.stop.search(body, max(0, start)):
                return not self.empty(text)
            searched = body
            return False

        return decided


def _made_up(decision: str, reason: Reason, reader: str) -> Reading:
    if decision == "stop":
        return Reading("stop", None, reason, 0, 0, reader)
    return Reading("bet", _DEFAULT, reason, 0, 0, reader)


ORIGINAL_EXP0 = OriginalReader("original-exp0", _EXP0_STOP, _exp0_bet, True, _exp0_empty, None)
ORIGINAL_EXP2 = OriginalReader(
    "original-exp2",
    _EXP2_STOP,
    _exp2_bet,
    False,
    lambda text: not text,
    _made_up("stop", "empty", "original-exp2/1"),
)
ORIGINAL_EXP2_PILOT = OriginalReader(
    "original-exp2-pilot",
    _PILOT_STOP,
    _pilot_bet,
    False,
    lambda text: not text,
    _made_up("bet", "empty", "original-exp2-pilot/1"),
)
