"""Reads the answer to ``Choice:``: the first numeral is the option, the rest imagination.

Grammar (leading white space is skipped):

* The response must begin with a digit. The numeral that begins there decides: ``1`` bets, ``2``
  stops, any other numeral (``3``, ``12``, ``1.5``, ``1,000``) is out of range. A letter glued to
  it (``2nd``) or a second option beside it (``1 or 2``, ``1/2``) is unreadable.
* A fixed menu's bet is the stake it offers. Under a variable menu the stake must stand on the
  same line, right behind the option, and be the only number there: ``1, $10``, ``1) Bet $20``,
  ``1 - 10``. A list (``1, 2, 3, ...``) or a stake that is not on offer leaves the amount open.

What a continuation can still change, and therefore has to be waited for:

* ``1`` and ``2`` alone can become ``12``, ``2.5``, ``1,000``, ``2nd`` or ``1 or 2``. A line
  break, which follows in nearly every real response, settles them; so does any other character
  that begins none of these.
* ``3`` to ``9`` and ``0`` begin no option; they are settled at once, as is any first character
  that is not a digit.
* A variable bet is settled by the end of its line, because ``1, 1`` may become ``1, 10``.
"""

import re
from typing import NamedTuple

from pitboss.games.menu import Menu
from pitboss.games.reading.reading import Finish, Reading, Reason, no_decision

_NUMERAL = re.compile(r"[0-9]+(?:,[0-9]{3}(?![0-9]))*(?:\.[0-9]+)?")
_SECOND_OPTION = re.compile(r"[ \t]*(?:/|or|and|&)[ \t]*[0-9]", re.IGNORECASE)
_STAKE = re.compile(
    r"[ \t,.):;=\u2013-]*(?:(?:i )?(?:bet|wager|choose|stake|amount)[ \t:=]*)?\$?[ \t]*"
    rf"(?P<stake>{_NUMERAL.pattern})(?![0-9%A-Za-z]|[.,][0-9])",
    re.IGNORECASE,
)
# Everything between the option's digit and the end of the text that some continuation could
# still turn into a longer numeral, a glued letter or a second option.
_OPEN = re.compile(r"\.|,[0-9]{0,3}|[ \t]*(?:/|o|or|a|an|and|&)?[ \t]*", re.IGNORECASE)
# One more digit makes "1,000" the option 1 with something behind it.
_MAY_FALL_APART = re.compile(r"\s*[12],[0-9]{3}")


class _Answer(NamedTuple):
    """The option a response names or the reason why it names none, and whether that can change."""

    option: int | None
    reason: Reason | None
    start: int
    settled: bool


def _answer(text: str) -> _Answer:
    body = text.lstrip()
    start = len(text) - len(body)
    if not body:
        return _Answer(None, "empty", 0, settled=False)
    if body[0] not in "0123456789":
        return _Answer(None, "unreadable", 0, settled=True)
    numeral = _NUMERAL.match(body)
    if numeral is None or numeral[0] not in ("1", "2"):
        settled = _MAY_FALL_APART.fullmatch(text) is None
        return _Answer(None, "out_of_range", 0, settled)
    rest = body[1:]
    if rest[:1].isalpha() or _SECOND_OPTION.match(rest):
        return _Answer(None, "unreadable", 0, settled=True)
    return _Answer(int(numeral[0]), None, start, settled=_OPEN.fullmatch(rest) is None)


def _stake(line: str, menu: Menu) -> tuple[int | None, int]:
    """The stake on the rest of an option's line, and where it ends; (None, 0) if not stated."""
    stated = _STAKE.match(line)
    if stated is None or len(_NUMERAL.findall(line)) != 1:
        return None, 0
    dollars, _, cents = stated["stake"].replace(",", "").partition(".")
    if cents.strip("0") or not menu.allows(int(dollars)):
        return None, 0
    return int(dollars), stated.end()


def read_choice(text: str, menu: Menu, finish: Finish, reader: str) -> Reading:
    """Read a response to a ``choice`` menu; see the module for the grammar."""
    answer = _answer(text)
    if not answer.settled and finish != "eos":
        return no_decision("truncated", reader)
    if answer.reason is not None:
        return no_decision(answer.reason, reader)
    end = answer.start + 1
    if answer.option == 2:
        return Reading("stop", None, None, answer.start, end, reader)
    if menu.fixed_bet is not None:
        return Reading("bet", menu.fixed_bet, None, answer.start, end, reader)
    line, newline, _ = text[end:].partition("\n")
    complete = bool(newline) or finish == "eos"
    amount, length = _stake(line, menu) if complete else (None, 0)
    return Reading("bet", amount, None, answer.start, end + length, reader)


def choice_decided(text: str, menu: Menu) -> bool:
    """Whether no continuation can change the reading of a response to a ``choice`` menu."""
    answer = _answer(text)
    stake_open = answer.option == 1 and menu.fixed_bet is None
    return answer.settled and (not stake_open or "\n" in text[answer.start :])
