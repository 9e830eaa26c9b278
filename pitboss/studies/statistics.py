"""How patching is tested, and for which effect it is planned; declared before anything runs."""

from typing import Annotated, Literal

from pydantic import Field

from pitboss.studies.fields import Section

Share = Annotated[float, Field(gt=0, lt=1)]


class Sequential(Section):
    """Looks at the runs before all are made: a feature of which enough is known is left out."""

    looks: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]
    """Trials after which a chunk's features are looked at, ascending; the last is patching.trials.
    Generated states have as large a share of their own trials by then."""

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Largest share of the tests that can be expected to have an effect. A feature goes on as long
    as it can still reach the evidence that would then be asked for."""

    smallest_effect: Share | None = 0.2
    """Smallest difference of stop rates worth finding: a feature that shows less is given up. null:
    only those that cannot reach the evidence any more are."""

    miss: Share = 0.05
    """Greatest chance to give up a feature whose effect is that large."""


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
