"""A chunk of a sequential design: it grows by interim analyses, and what has stopped is not asked.

The runs between two interim analyses of a chunk are a part of their own. Which features they still
ask, and in which scenes, follows from the chunk's earlier parts as they are stored, and from
nothing else: so workers need not wait for each other, and a kill between two analyses, or in one,
changes no byte.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pandas as pd

from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.sequential import Rule, decide
from pitboss.errors import BadInput
from pitboss.experiments.patching.arms import Asked, Chunk
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.experiments.runtime.unit import Unit
from pitboss.games.scenes import scene_of
from pitboss.store import PartRef, Store

_NAME = ["layer", "feature", "scene"]
_COLUMNS = [*_NAME, "prompt", "arm", "trial", "decision"]


@dataclass(eq=False)
class Known:
    """What is known of a chunk: every finished part is read once.

    Attributes:
        parts: The finished parts.
        next: The part that is due; None until it is worked out.
        analyses: Interim analyses that are over.
        counts: Pairs of runs of each feature and scene so far, by `count_pairs`.
        stopped: Features and scenes that are not asked any more.
    """

    parts: list[Unit] = field(default_factory=list)
    next: Unit | None = None
    analyses: int = 0
    counts: pd.DataFrame = field(default_factory=pd.DataFrame)
    stopped: frozenset[tuple[int, int, str]] = frozenset()


@dataclass(frozen=True, eq=False)
class Interim:
    """The payload of a chunk of a sequential design.

    Attributes:
        chunk: All that may be asked, with all trials.
        rule: The declared rule.
        make: Makes the unit of one part from what it asks and the number of its analysis.
    """

    chunk: Chunk
    rule: Rule
    make: Callable[[Chunk, int], Unit]
    known: Known = field(default_factory=Known)


@dataclass(frozen=True)
class InterimUnit(Unit):
    """A chunk up to its last interim analysis; finished when nothing is left to ask."""

    def ref(self, store: Store) -> PartRef | None:
        """The last part once there is nothing left to ask, else None."""
        parts = parts_so_far(self, store)
        known: Known = self.payload.known
        return known.parts[-1].ref(store) if len(parts) == len(known.parts) else None


def rule_of(settings: PatchingSettings, tests: int) -> Rule:
    """The sequential rule over so many features and scenes.

    Raises:
        BadInput: The patching has a fixed number of trials.
    """
    sequential = settings.sequential
    if sequential is None:
        raise BadInput("This patching has a fixed number of trials.", where="sequential")
    return Rule(
        tests=tests,
        looks=tuple(sequential.looks),
        fdr=settings.fdr,
        share=sequential.share,
        smallest_effect=sequential.smallest_effect,
        miss=sequential.miss,
    )


def whole(unit: Unit) -> Chunk:
    """All that a unit of runs may ask."""
    payload: Chunk | Interim = unit.payload
    return payload.chunk if isinstance(payload, Interim) else payload


def parts_so_far(unit: InterimUnit, store: Store) -> list[Unit]:
    """The parts of a chunk that are known: the finished ones, and the one that is due, if any."""
    interim: Interim = unit.payload
    known = interim.known
    while known.analyses < len(interim.rule.looks):
        if known.next is None:
            chunk = _asked_at(interim, known.analyses, known.stopped)
            if chunk is None:  # nothing is left, or no trial is added to what is
                known.analyses += 1
                continue
            known.next = interim.make(chunk, known.analyses)
        if known.next.ref(store) is None:
            return [*known.parts, known.next]
        _analyse(interim, store, known.next)
    return list(known.parts)


def _analyse(interim: Interim, store: Store, part: Unit) -> None:
    """Take the runs of a finished part into what is known."""
    known = interim.known
    runs = store.read("trials", [part.key], columns=_COLUMNS).to_pandas()
    counts = pd.concat([known.counts, count_pairs(runs, _NAME)])
    known.counts = counts.groupby(_NAME, sort=True).sum().reset_index()
    known.stopped = _stopped(interim, known.counts)
    known.parts.append(part)
    known.next, known.analyses = None, known.analyses + 1


def _asked_at(
    interim: Interim, number: int, stopped: frozenset[tuple[int, int, str]]
) -> Chunk | None:
    """What is asked between two analyses; None if nothing."""
    ends = interim.rule.looks
    before, until = (ends[number - 1] if number else 0), ends[number]
    prompts = []
    for prompt, trials in interim.chunk.prompts:
        start, stop = (-(-len(trials) * n // ends[-1]) for n in (before, until))
        if stop > start:
            prompts.append(Asked(prompt, trials[start:stop]))
    chunk = replace(interim.chunk, prompts=tuple(prompts), stopped=stopped)
    return chunk if chunk.runs else None


def _stopped(interim: Interim, counts: pd.DataFrame) -> frozenset[tuple[int, int, str]]:
    """Features and scenes of which enough is known, or too little can still become known."""
    planned: dict[str, int] = {}
    for prompt, trials in interim.chunk.prompts:
        of_scene = scene_of(prompt.name)
        planned[of_scene] = planned.get(of_scene, 0) + len(trials)
    pairs = counts["up"] + counts["down"] + counts["same"]
    left = counts["scene"].map(planned) - pairs - counts["undecided"]
    states = decide(counts["up"], counts["down"], pairs, left, interim.rule)
    ended = counts.loc[states != "running", _NAME].itertuples(index=False, name=None)
    return frozenset((int(layer), int(feature), str(of)) for layer, feature, of in ended)
