"""A sequential chunk: its runs come look by look, and what has stopped is not asked again.

Each look of a chunk is a part of its own. Which features a look still asks, and in which scenes,
follows from the chunk's earlier looks as they are stored, and from nothing else: so lanes need not
wait for each other, and a kill between two looks, or in one, changes no byte.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pandas as pd

from pitboss.analysis.pairs import count_pairs
from pitboss.analysis.sequential import Rule, decide
from pitboss.errors import BadInput
from pitboss.experiments.patching.arms import Asked, Chunk
from pitboss.experiments.runtime.unit import Unit
from pitboss.games.scenes import scene_of
from pitboss.store import PartRef, Store
from pitboss.studies.model import Study

_COLUMNS = ["layer", "feature", "scene", "prompt", "arm", "trial", "decision"]
Name = tuple[int, int, str]
"""Layer, feature and scene: what is tested, and stops."""


@dataclass(frozen=True, eq=False)
class Looks:
    """The payload of a sequential chunk.

    Attributes:
        chunk: All that may be asked, with all trials.
        rule: The declared rule.
        make: Makes the unit of one look from what it asks and its number.
    """

    chunk: Chunk
    rule: Rule
    make: Callable[[Chunk, int], Unit]


@dataclass(frozen=True)
class LookUnit(Unit):
    """All looks of a chunk, which a lane takes as one; finished when nothing is left to ask."""

    def ref(self, store: Store) -> PartRef | None:
        """The last look's part once there is nothing left to ask, else None."""
        made, complete = looks(self, store)
        return made[-1].ref(store) if complete else None


def rule_of(study: Study, tests: int) -> Rule:
    """The study's sequential rule over so many features and scenes.

    Raises:
        BadInput: The study has a fixed design.
    """
    settings = study.patching.sequential
    if settings is None:
        raise BadInput("This study has a fixed number of trials.", where="patching.sequential")
    return Rule(
        tests=tests,
        looks=tuple(settings.looks),
        fdr=study.patching.fdr,
        share=settings.share,
        smallest_effect=settings.smallest_effect,
        miss=settings.miss,
    )


def looks(unit: LookUnit, store: Store) -> tuple[list[Unit], bool]:
    """The looks of a chunk that are known so far, the last of which may be unfinished.

    Returns:
        The units, and whether all are finished and none follows.
    """
    payload: Looks = unit.payload
    made: list[Unit] = []
    frames: list[pd.DataFrame] = []
    stopped: frozenset[Name] = frozenset()
    for number in range(len(payload.rule.looks)):
        chunk = _asked_at(payload, number, stopped)
        if chunk is None:
            continue  # nothing is left, or this look adds no trial to what is
        following = payload.make(chunk, number)
        made.append(following)
        if following.ref(store) is None:
            return made, False
        read = store.read("trials", [following.key], columns=[*_COLUMNS])
        frames.append(read.to_pandas()[_COLUMNS])
        stopped = _stopped(payload, pd.concat(frames, ignore_index=True))
    return made, True


def _asked_at(payload: Looks, number: int, stopped: frozenset[Name]) -> Chunk | None:
    """What a look asks; None if nothing."""
    ends = payload.rule.looks
    before, until = (ends[number - 1] if number else 0), ends[number]
    prompts = []
    for prompt, trials in payload.chunk.prompts:
        start, stop = (-(-len(trials) * n // ends[-1]) for n in (before, until))
        if stop > start:
            prompts.append(Asked(prompt, trials[start:stop]))
    chunk = replace(payload.chunk, prompts=tuple(prompts), stopped=stopped)
    return chunk if chunk.runs else None


def _stopped(payload: Looks, runs: pd.DataFrame) -> frozenset[Name]:
    """Features and scenes of which enough is known, or too little can still become known."""
    counts = count_pairs(runs, ["layer", "feature", "scene"])
    planned: dict[str, int] = {}
    for prompt, trials in payload.chunk.prompts:
        of_scene = scene_of(prompt.name)
        planned[of_scene] = planned.get(of_scene, 0) + len(trials)
    pairs = counts["up"] + counts["down"] + counts["same"]
    left = counts["scene"].map(planned) - pairs - counts["undecided"]
    states = decide(counts["up"], counts["down"], pairs, left, payload.rule)
    ended = counts[states != "running"]
    names = ended[["layer", "feature", "scene"]].itertuples(index=False, name=None)
    return frozenset((int(layer), int(feature), str(of)) for layer, feature, of in names)
