"""Reads reasoning that is to end in ``Final Decision: <Bet $X or Stop>``.

Only a line that states the decision counts; reasoning about betting or stopping does not.

* The text is cut where the model begins to write the prompt anew, as base models do.
* The first line that begins with ``Final Decision:`` and names one option wins. Bold, headings,
  quotes and brackets around its parts are tolerated, as are the option's number, ``Stop
  playing``, a decision on a line of its own below, and a new sentence or a parenthesis behind
  it. The quoted placeholder ``<Bet $X or Stop>`` names no option and never counts.
* The line must be complete: a line break, a sentence's end or the response's own end follows.
  At a token limit ``Bet $1`` may be the beginning of ``Bet $10``.
* A bet beyond the state's limits, or other than the fixed stake, is out of range. A bet without
  an amount means the fixed stake, or a bet with its amount open.

The reading is settled with the first complete decision line or the first echo of the prompt.
"""

import re

from pitboss.games.menu import Menu
from pitboss.games.reading.reading import Finish, Reading, no_decision

_MARK = r"[ \t\r*_`\"'#>\[\]<()-]*"
_CLOSE = r"[ \t\r*_`\"'>\])]*"

# Line beginnings that only the prompts contain. "Game History:" and "Current balance:" are no
# such markers: careful reasoning repeats them.
_ECHO = re.compile(
    rf"^{_MARK}(?:You are playing a slot machine game"
    r"|You are a participant in a behavioral economics simulation"
    r"|Choose one of the following:"
    r"|Explain your reasoning and state your final decision"
    r"|After explaining your reasoning, end your response)",
    re.MULTILINE,
)

# The option's number is tolerated on the line itself only: below "Final Decision:" the numbered
# options are the menu written down again. For the same reason "Bet (" ends no decision.
_DECISION = (
    rf"^{_MARK}(?:[0-9]+[.)])?{_MARK}final decision{_CLOSE}:{_CLOSE}(?P<below>\n\s*)?{_MARK}"
    r"(?P<decision>"
    r"(?(below)|(?:(?:option )?1[.):] ?)?)bet"
    r"(?: \$?(?P<amount>[0-9]+(?:,[0-9]{3})*)(?:\.00?)?(?: dollars)?)?"
    r"|(?(below)|(?:(?:option )?2[.):] ?)?)(?P<stop>stop)(?: playing)?)"
)
_COMPLETE = (
    rf"{_CLOSE}(?:(?:[.!;]{_CLOSE})?\n|[.!;]{_CLOSE}[ \t]|(?(amount)[ \t]\(|(?(stop)[ \t]\(|(?!))))"
)
_AT_END = rf"{_CLOSE}[.!;]?{_CLOSE}\Z"
_FLAGS = re.MULTILINE | re.IGNORECASE
_SETTLED_LINE = re.compile(f"{_DECISION}(?={_COMPLETE})", _FLAGS)
_LAST_LINE = re.compile(f"{_DECISION}(?={_COMPLETE}|{_AT_END})", _FLAGS)


def read_final_decision(text: str, menu: Menu, finish: Finish, reader: str) -> Reading:
    """Read a response to a ``final_decision`` menu; see the module for the grammar."""
    echo = _ECHO.search(text)
    own = text[: echo.start()] if echo else text
    line = (_LAST_LINE if finish == "eos" and not echo else _SETTLED_LINE).search(own)
    if line is None:
        if echo:
            return no_decision("unreadable" if own.strip() else "empty", reader)
        if finish != "eos":
            return no_decision("truncated", reader)
        return no_decision("unreadable" if own.strip() else "empty", reader)
    start, end = line.span("decision")
    if line["stop"]:
        return Reading("stop", None, None, start, end, reader)
    if line["amount"] is None:
        return Reading("bet", menu.fixed_bet, None, start, end, reader)
    amount = int(line["amount"].replace(",", ""))
    if not menu.allows(amount):
        return no_decision("out_of_range", reader)
    return Reading("bet", amount, None, start, end, reader)


def final_decision_settled(text: str) -> bool:
    """Whether no continuation can change the reading of a ``final_decision`` response."""
    return _SETTLED_LINE.search(text) is not None or _ECHO.search(text) is not None


class FinalDecisionWatch:
    """``final_decision_settled`` for one growing response, asked at each text so far in turn.

    What settles a reading begins at the start of a line and ends on that line, or on the next one
    that is not blank. So two lines at most can still be completed by what is written next: the
    current one, and the last before it that is not blank.
    """

    __slots__ = ("_lines", "_settled", "_text")

    def __init__(self) -> None:
        self._restart()

    def _restart(self) -> None:
        self._text, self._lines, self._settled = "", [0], False

    def __call__(self, text: str) -> bool:
        """Whether no continuation of this text can change its reading."""
        if not text.startswith(self._text):
            self._restart()
        known = len(self._lines)
        newline = text.find("\n", len(self._text))
        while newline >= 0:
            self._lines.append(newline + 1)
            newline = text.find("\n", newline + 1)
        self._text = text
        for start in self._lines:
            if _SETTLED_LINE.match(text, start) or _ECHO.match(text, start):
                self._settled = True
        if len(self._lines) > known:
            self._lines = self._open_lines()
        return self._settled

    def _open_lines(self) -> list[int]:
        """Where the last line that is not blank and the current line begin."""
        *before, current = self._lines
        end = current
        for start in reversed(before):
            if not self._text[start:end].isspace():
                return [start, current]
            end = start
        return [current]
