"""What differs between stops and bets in the games that count, and how a decision forms."""

from pitboss.analysis.pathway import pathway
from pitboss.experiments.pathway.recorded import Recorded
from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.experiments.runtime.unit import Outcome


def analyse(settings: PathwaySettings, found: Recorded) -> Outcome:
    """Top features by layer and the curve of the decision, over the games that count.

    Returns:
        Rows of the kinds `pathway` and `pathway_curve`; what could not be evaluated is a fact.

    Raises:
        BadInput: The games that count hold no stop or no bet.
    """
    result = pathway(
        found.decisions,
        found.games,
        found.activations,
        layers=list(settings.layers),
        top=settings.top_features,
    )
    tables = {"pathway": result.features, "pathway_curve": result.curve}
    return Outcome(tables, {"notes": result.notes})
