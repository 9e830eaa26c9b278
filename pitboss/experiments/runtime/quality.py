"""Stops an experiment whose responses are of little use, before it has taken a day.

Judged are responses that are stored; an error is none of them. Nothing is dropped: what is stored
stays, and with other limits the same study goes on where it stopped.
"""

from collections.abc import Sequence
from typing import Any

from pitboss.analysis.proportions import clopper_pearson
from pitboss.analysis.readable import COLUMNS, Stated, stated
from pitboss.errors import PoorResponses
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.experiments.runtime.unit import Unit
from pitboss.studies.quality import Quality

_WAY_OUT = {
    "truncated": "give them more tokens (sampling.max_new_tokens)",
    "unreadable": "choose the reader or the prompt that they answer",
    "out_of_range": "choose the prompt that says what is on offer",
    "empty": "raise sampling.min_new_tokens, or choose another prompt",
}


class Gate:
    """Follows the responses of one experiment on one model, part by part.

    The study's `quality` holds the limits; without one nothing is judged.
    """

    def __init__(self, experiment: Experiment[Any], model: str) -> None:
        self._experiment, self._model = experiment, model
        self._counted: set[str] = set()
        self._found: dict[str, Stated] = {}
        self._name = experiment.label(model)
        self._at_the_end = 0  # units that were counted when all were judged

    def add(self, unit: Unit) -> None:
        """Count the responses of a finished unit that is judged, and judge where enough are in.

        Raises:
            PoorResponses: Too few of them state a decision, or too many are cut off.
        """
        limits, kind = self._experiment.study.quality, self._experiment.judged
        if limits is None or kind is None or not self._experiment.judges(unit):
            return
        if unit.key in self._counted:
            return
        self._counted.add(unit.key)
        if "baseline" in unit.identity:
            self._name = f"{self._experiment.label(self._model)} without a patch"
        by = ["scene"] if kind == "trials" else []
        table = self._experiment.store.read(kind, [unit.key], columns=[*COLUMNS, *by]).to_pandas()
        for scene, rows in table.groupby("scene") if by else [("", table)]:
            self._found[scene] = self._found.get(scene, Stated()) + stated(rows)
        self._judge(limits, limits.after)

    def follow(self, units: Sequence[Unit]) -> None:
        """Count those of some units that are finished, by whomever.

        Where no other is to come, all are judged, however few there are.

        Raises:
            PoorResponses: As for `add`.
        """
        limits, plan = self._experiment.study.quality, self._experiment.plan
        judged = [unit for unit in units if self._experiment.judges(unit)]
        if limits is None:
            return
        for unit in judged:
            if unit.key not in self._counted and plan.done(unit):
                self.add(unit)
        all_here = self._counted.issuperset(unit.key for unit in judged)
        if all_here and len(self._counted) > self._at_the_end and not self._more_to_come():
            self._at_the_end = len(self._counted)
            self._judge(limits, 1)

    def _more_to_come(self) -> bool:
        """Whether a unit that is judged is still to be carried out."""
        judges, plan = self._experiment.judges, self._experiment.plan
        stages, waits = plan.known(self._experiment, self._model)
        last = stages[-1].units if stages else ()
        return bool(waits) or any(judges(unit) and not plan.done(unit) for unit in last)

    def _judge(self, limits: Quality, least: int) -> None:
        problems = {
            scene: found
            for scene, found in self._found.items()
            if found.responses >= least and _poor(found, limits)
        }
        if problems:
            raise self._error(problems, limits)

    def _error(self, problems: dict[str, Stated], limits: Quality) -> PoorResponses:
        reasons = sum(problems.values(), Stated()).reasons
        mainly = max(reasons, key=lambda reason: reasons[reason])
        return PoorResponses(
            " ".join(
                _sentence(f"{self._name}, {scene}" if scene else self._name, found, limits)
                for scene, found in problems.items()
            ),
            where=f"{self._experiment.store.path}; limits: quality of the study file",
            next=f"Read some of them: `pitboss export {self._experiment.study.name} "
            f"{self._experiment.judged} --where decision=none`. As most are {mainly}, "
            f"{_WAY_OUT[mainly]}, in a study of another name. What is stored stays; with other "
            "limits (or quality: null) this study goes on where it stopped.",
        )


def _poor(found: Stated, limits: Quality) -> bool:
    """Whether a share misses its limit by more than chance: its 95 % interval is beyond it."""
    counts = [found.readable, found.cut_off]
    share = clopper_pearson(counts, [found.responses] * 2)
    return bool(share.high[0] < limits.readable or share.low[1] > limits.cut_off)


def _sentence(name: str, found: Stated, limits: Quality) -> str:
    reasons = sorted(found.reasons.items(), key=lambda item: -item[1])
    return (
        f"Of the first {found.responses:,} responses of {name}, "
        f"{found.readable / found.responses:.0%} state a decision (at least "
        f"{limits.readable:.0%} are asked for) and {found.cut_off / found.responses:.0%} were cut "
        f"off before one (at most {limits.cut_off:.0%}). Without a decision: "
        f"{', '.join(f'{count:,} {reason}' for reason, count in reasons)}."
    )
