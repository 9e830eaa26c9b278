"""Getting at a study's data: tables, feature cards, status, comparison, export.

In a notebook `pitboss.open("demo")` is all one needs; `pitboss` on the command line shows the same.
"""

from pitboss.api import card_view, views  # noqa: F401, they say how objects are shown
from pitboss.api.card import Card
from pitboss.api.compare import Comparison, compare
from pitboss.api.examples import Example
from pitboss.api.export import export
from pitboss.api.folders import results_root, studies
from pitboss.api.results import Results, open_results
from pitboss.api.status import Status, status_of

__all__ = [
    "Card",
    "Comparison",
    "Example",
    "Results",
    "Status",
    "compare",
    "export",
    "open_results",
    "results_root",
    "status_of",
    "studies",
]
