"""Stops an experiment whose responses are of little use, before it has taken a day.

Judged are responses that are stored; an error is none of them. Nothing is dropped: what is stored
stays, and with other limits the same study goes on where it stopped.
"""

from collections.abc import Sequence

from pitboss.analysis.proportions import clopper_pearson
from pitboss.analysis.readable import COLUMNS, Stated, stated
from pitboss.errors import PoorResponses
from pitboss.experiments.runtime.unit import Unit
from pitboss.store import Store
from pitboss.studies.model import Study
from pitboss.studies.quality import Quality

_WAY_OUT = {
    "truncated": "give them more tokens (sampling.max_new_tokens)",
    "unreadable": "choose the reader or the prompt that they answer",
    "out_of_range": "choose the prompt that says what is on offer",
    "empty": "raise sampling.min_new_tokens, or choose another prompt",
}


class Gate:
    """Follows the responses of one experiment and model, part by part.

    Args:
        study: Its quality section holds the limits; without one nothing is judged.
        name: How the experiment is called in messages, such as games llama.
        kind: Table of the responses: decisions, or trials, which are judged scene by scene.
    """

    def __init__(self, study: Study, store: Store, name: str, kind: str = "decisions") -> None:
        self._study, self._store, self._name, self._kind = study, store, name, kind
        self._counted: set[str] = set()
        self._found: dict[str, Stated] = {}

    def add(self, unit: Unit) -> None:
        """Count a finished unit's responses, and judge where enough are in.

        Raises:
            PoorResponses: Too few of them state a decision, or too many are cut off.
        """
        limits = self._study.quality
        if limits is None or unit.key in self._counted:
            return
        self._counted.add(unit.key)
        by = ["scene"] if self._kind == "trials" else []
        table = self._store.read(self._kind, [unit.key], columns=[*COLUMNS, *by]).to_pandas()
        for scene, rows in table.groupby("scene") if by else [("", table)]:
            self._found[scene] = self._found.get(scene, Stated()) + stated(rows)
        self._judge(limits, limits.after)

    def end(self) -> None:
        """All responses are in: judge them, however few there are.

        Raises:
            PoorResponses: As for `add`.
        """
        if self._study.quality is not None:
            self._judge(self._study.quality, 1)

    def follow(self, units: Sequence[Unit]) -> None:
        """Count those of some units that are finished, by whomever; all of them are the end.

        Raises:
            PoorResponses: As for `add`.
        """
        for unit in units:
            if unit.key not in self._counted and unit.ref(self._store) is not None:
                self.add(unit)
        if self._counted.issuperset(unit.key for unit in units):
            self.end()

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
            where=f"{self._store.path}; limits: quality of the study file",
            next=f"Read some of them: `pitboss export {self._study.name} {self._kind} --where "
            f"decision=none`. As most are {mainly}, {_WAY_OUT[mainly]}, in a study of another "
            "name. What is stored stays; with other limits (or quality: null) this study goes on "
            "where it stopped.",
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
