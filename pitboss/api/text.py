"""The same views as plain text: what a notebook or a prompt shows of an object."""

import io

from rich.console import Console, RenderableType

from pitboss.api import views
from pitboss.api.card import Card
from pitboss.api.card_view import card_view
from pitboss.api.compare import Comparison
from pitboss.api.status import Status

WIDTH = 120


def as_text(view: RenderableType, width: int = WIDTH) -> str:
    """A view as text without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=False)
    with console.capture() as caught:
        console.print(view)
    lines = (line.rstrip() for line in caught.get().splitlines())
    return "\n".join(lines)


def status_text(status: Status) -> str:
    """A study's status."""
    return as_text(views.status_view(status))


def card_text(card: Card) -> str:
    """A feature's card."""
    return as_text(card_view(card))


def comparison_text(comparison: Comparison) -> str:
    """A comparison."""
    return as_text(views.comparison_view(comparison))
