"""The study's reader: reads a response under the menu of its prompt, and guesses nothing."""

from pitboss.games.menu import Menu
from pitboss.games.reading.choice import choice_decided, read_choice
from pitboss.games.reading.final_decision import (
    FinalDecisionWatch,
    final_decision_settled,
    read_final_decision,
)
from pitboss.games.reading.reading import Finish, Reading, Watch


class MenuReader:
    """Reads ``choice`` menus by their first numeral, ``final_decision`` menus by that line."""

    name = "menu"
    version = "1"

    def read(self, text: str, menu: Menu, finish: Finish) -> Reading:
        """Read one response; text cut off before a decision is ``truncated``, never guessed."""
        read = read_choice if menu.style == "choice" else read_final_decision
        return read(text, menu, finish, f"{self.name}/{self.version}")

    def decided(self, text: str, menu: Menu) -> bool:
        """True as soon as no continuation can change the reading."""
        if menu.style == "choice":
            return choice_decided(text, menu)
        return final_decision_settled(text)

    def watch(self, menu: Menu) -> Watch:
        """``decided`` for one growing response; under a choice menu only its head matters."""
        if menu.style == "choice":
            return lambda text: choice_decided(text, menu)
        return FinalDecisionWatch()
