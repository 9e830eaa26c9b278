"""How patching is tested, and for which effect it is planned; declared before anything runs."""

from typing import Annotated, Literal

from pydantic import Field

from pitboss.studies.fields import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class Statistics(Section):
    """How stopping is tested, and what the declaration says the study can find."""

    test: Literal["fisher", "paired"] = "fisher"
    """fisher compares how often the two arms stop, exactly and within each state; paired compares
    runs with the same noise, decision by decision (McNemar's exact test)."""

    wanted_effect: Share = 0.3
    """Difference of stop rates for which the declaration gives the trials that are needed."""

    wanted_power: Share = 0.8
    """Chance with which an effect is to be found."""

    assumed_share: Share = 0.05
    """Share of the tests that are assumed to have an effect; it decides at which p the correction
    is expected to end."""

    permutations: Annotated[int, Field(ge=0, le=10_000)] = 200
    """Studies with permuted labels, on which the count of causal features is taken again; 0 for
    none."""
