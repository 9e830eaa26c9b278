"""At equal values of what the two groups are compared: a design over the distinct states."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from pitboss.experiments.selection.groups import CELLS, GROUPS
from pitboss.experiments.selection.settings import SelectionSettings
from pitboss.saes.adjusted import Adjusted, Design, covariate_design, matched_design
from pitboss.store import table_of

_COVARIATES: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "balance": lambda states: states["balance"],
    "log_balance": lambda states: np.log(states["balance"]),
    "round": lambda states: states["round"],
    "log_round": lambda states: np.log(states["round"]),
    "variable": lambda states: states["variable"],
}


def design(settings: SelectionSettings, states: pd.DataFrame) -> Design | None:
    """The comparison that the study wants, over distinct states; None where it adjusts nothing.

    Raises:
        BadInput: The groups cannot be compared at equal balance and round.
    """
    risky, safe = (states[name].to_numpy() for name in GROUPS.values())
    if settings.count == "states":
        risky, safe = np.minimum(risky, 1), np.minimum(safe, 1)
    if settings.adjust == "covariates":
        columns = [_COVARIATES[name](states) for name in settings.covariates]
        return covariate_design(risky, safe, np.column_stack(columns))
    if settings.adjust == "matched":
        return matched_design(risky, safe, states.groupby(list(CELLS)).ngroup().to_numpy())
    return None


def adjustments_table(
    settings: SelectionSettings, model: str, layer: int, comparison: Design, found: Adjusted
) -> pa.Table:
    """A layer's adjusted differences as a table of kind `adjustments`.

    Args:
        model: Model id of the catalogue.
    """
    robust = settings.errors == "robust"
    frame = pd.DataFrame(
        {
            "model": model,
            "layer": layer,
            "feature": np.arange(len(found.difference)),
            "adjust": settings.adjust,
            "errors": settings.errors,
            "n_risky": comparison.n_risky,
            "n_safe": comparison.n_safe,
            "difference": found.difference,
            "se": found.se_robust if robust else found.se,
            "df": float(comparison.df_robust if robust else comparison.df),
        }
    )
    if comparison.cell is not None:
        frame["cells"] = comparison.cells
    return table_of("adjustments", frame)
