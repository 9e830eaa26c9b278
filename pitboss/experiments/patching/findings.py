"""The findings table: one row a patched feature, from the effects and what else is known of it."""

from typing import TYPE_CHECKING

from pitboss.analysis.findings import findings
from pitboss.experiments.runtime.unit import Outcome, Unit

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching


def findings_unit(patching: "Patching", experiment: str, confirmed: str | None = None) -> Unit:
    """The findings from a patching's effects.

    Args:
        experiment: The study's name of the experiment that gathers them.
        confirmed: Key of the confirmation's effects, if there is one.

    Raises:
        Incomplete: What the effects are made of is not known yet.
    """
    return Unit(
        experiment=experiment,
        task="findings",
        kind="findings",
        slug=patching.model,
        identity={
            "effects": patching.effects_key,
            "confirmed": confirmed,
            "screened": patching.settings.confirm is not None,
        },
        rows=len(patching.bank),
        payload=confirmed,
    )


def gather(patching: "Patching", confirmed: str | None) -> Outcome:
    """One row a patched feature: its clearest effect, its runs, and whether it was found again.

    Args:
        confirmed: Key of the confirmation's effects, if there is one.

    Raises:
        Incomplete: A part that they are made of is missing.
    """
    store, selection = patching.store, patching.selection
    tested = store.read("effects", [patching.effects_key]).to_pandas()
    again = None if confirmed is None else store.read("effects", [confirmed]).to_pandas()
    keys = [part.key for chunk in patching.feature_chunks for part in patching.parts(chunk)]
    runs = store.read("trials", keys, columns=["layer", "feature"]).to_pandas()
    counts = runs.groupby(["layer", "feature"]).size()
    made = findings(
        tested,
        {(int(layer), int(feature)): int(n) for (layer, feature), n in counts.items()},
        selection.differences(),
        patching.source.shifts(),
        again,
    )
    return Outcome({"findings": made})
