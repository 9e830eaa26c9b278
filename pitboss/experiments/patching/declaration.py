"""What a patching declares before anything runs: the study's declaration.json."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from pitboss.analysis.declaration import declaration
from pitboss.analysis.effects import CONTRASTS, PRIMARY
from pitboss.analysis.outcomes import OUTCOMES
from pitboss.analysis.sequential import Rule
from pitboss.experiments.patching.interim import rule_of
from pitboss.games.scenes import STATES

if TYPE_CHECKING:
    from pitboss.experiments.patching.experiment import Patching


def declare(patching: "Patching") -> dict[str, Any]:
    """Tests, outcomes, families, the rules by which a feature counts, and which effects are found.

    `power` has an entry for the fixed scenes, which are tested one by one, and one for the set of
    states, which is tested as a whole; numbers of features are the most that can be patched.
    """
    settings, features = patching.settings, patching.most()
    statistics, again = settings.statistics, patching.confirmation
    family = features * len(settings.scenes) * len(OUTCOMES)
    designs = {", ".join(settings.prompts): (settings.trials, 1)}
    if settings.states is not None:
        designs[STATES] = (settings.states.trials, settings.states.count)
    rule = None
    if settings.sequential is not None:
        rule = rule_of(settings, features * len(settings.scenes))
    return {
        "tests": family,
        "features": features,
        "scenes": settings.scenes,
        "outcomes": list(OUTCOMES),
        "contrasts": {"primary": PRIMARY, "secondary": [c for c in CONTRASTS if c != PRIMARY]},
        "test_of_stopping": statistics.test,
        "fdr": settings.fdr,
        "families": [
            f"{contrast}: all features, scenes and outcomes that can be tested"
            for contrast in CONTRASTS
        ],
        "counted": (
            f"A feature is causal if {PRIMARY} is significant on stopping in a scene, and stands "
            "with every undecided run decided against it where an arm has fewer readable runs."
        ),
        "controls": settings.controls.model_dump(),
        "controls_rule": "Held against the cut-off of the features' family; in no family.",
        "confirmation": None
        if again is None
        else again.settings.own_rules
        | {"rule": "One-sided in the discovery's direction, one test a candidate, BH among them."},
        "permutations": statistics.permutations,
        "sequential": None if rule is None else asdict(rule),
        "power": {
            where: declaration(
                tests=family if rule is None else rule.tests,
                trials=trials,
                states=states,
                fdr=settings.fdr,
                share=statistics.assumed_share,
                wanted_power=statistics.wanted_power,
                wanted_effect=statistics.wanted_effect,
                test=statistics.test,
                rule=None if rule is None else replace(rule, looks=_looks(rule, trials)),
            )
            for where, (trials, states) in designs.items()
        },
    }


def _looks(rule: Rule, trials: int) -> tuple[int, ...]:
    """When the interim analyses are, in trials of a scene that has so many."""
    return tuple(sorted({-(-trials * look // rule.trials) for look in rule.looks}))


def as_markdown(declared: dict[str, Any]) -> str:
    """The declaration as a person reads it, below the announcement."""
    lines = ["## What is tested, declared before anything runs", "", f"- {declared['counted']}"]
    lines += [f"- Family at a false discovery rate of {declared['fdr']:g}: {family}."
              for family in declared["families"]]  # fmt: skip
    for where, power in declared["power"].items():
        lines += ["", f"### {where}", "", *(f"- {sentence}" for sentence in power["sentences"])]
    return "\n".join([*lines, ""])
