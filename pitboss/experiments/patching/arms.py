"""An arm of Exp2: one prompt under one patch or none, and what its runs are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from pitboss.analysis.effects import CONFIRMATION, DISCOVERY
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.games.prompts import Prompt
from pitboss.games.scenes import scene, scene_of, state_names

if TYPE_CHECKING:
    from pitboss.engine import Patch
    from pitboss.saes.bank import FeatureBank

BASELINE = "baseline"


class Asked(NamedTuple):
    """A prompt and the numbers of its trials."""

    prompt: Prompt
    trials: range


def asked(settings: PatchingSettings) -> list[Asked]:
    """The prompts of the discovery: the fixed scenes, then the first states of the set."""
    fixed = [Asked(scene(name), range(settings.trials)) for name in settings.prompts]
    states = settings.states
    if states is None:
        return fixed
    trials = range(states.trials)
    return fixed + [Asked(scene(name), trials) for name in state_names(0, states.count)]


@dataclass(frozen=True, eq=False)
class Arm:
    """One prompt under one value of one feature, under a control, or under nothing.

    Attributes:
        name: baseline, safe, risky, own or reconstruction.
        role: What is patched: baseline, feature, or a control's kind.
        feature: (layer, feature) as it is stored; the feature is None for a reconstruction.
        matched: The patched feature that a control is matched to, such as L3/F12.
    """

    asked: Asked
    name: str
    patch: "Patch | None"
    role: str
    feature: tuple[int, int | None] | None = None
    matched: str | None = None
    phase: str = DISCOVERY

    @property
    def prompt(self) -> Prompt:
        return self.asked.prompt

    def key(self, alias: str, trial: int) -> str:
        """Name of one run of this arm."""
        where = ""
        if self.feature is not None:
            layer, feature = self.feature
            where = f"/L{layer:02d}" + ("" if feature is None else f"/F{feature}")
        phase = "" if self.phase == DISCOVERY else f"/{self.phase}"
        return f"{alias}{phase}/{self.role}{where}/{self.prompt.name}/{self.name}/{trial:03d}"

    def noise(self, trial: int) -> str:
        """Name of a run's noise: the same in every arm, another one in the confirmation."""
        phase = f"{CONFIRMATION}/" if self.phase == CONFIRMATION else ""
        return f"{phase}{self.prompt.name}/{trial:03d}"

    def columns(self) -> dict[str, Any]:
        """What is stored of the arm with each of its runs."""
        layer, feature = self.feature or (None, None)
        patch = self.patch
        return {
            "role": self.role,
            "matched": self.matched,
            "phase": self.phase,
            "prompt": self.prompt.name,
            "scene": scene_of(self.prompt.name),
            "prompt_sha256": sha256(self.prompt.text.encode()).hexdigest(),
            "balance": self.prompt.menu.balance,
            "highest": self.prompt.menu.highest,
            "arm": self.name,
            "layer": layer,
            "feature": feature,
            "value": None if patch is None or feature is None else patch.value,
            "mode": patch.mode if patch else None,
            "positions": patch.positions if patch else None,
        }


@dataclass(frozen=True, eq=False)
class Chunk:
    """What one unit patches: some features or controls, in some prompts.

    Attributes:
        role: baseline, feature, random_feature, random_direction, own_value or reconstruction.
        prompts: The prompts and their trials.
        bank: The features; of a reconstruction one of its layer; None for the baseline.
        matched: Names of the features that controls are matched to, one for each of the bank.
        stopped: Layer, feature and scene of what is not asked any more in a sequential design.
    """

    role: str
    prompts: tuple[Asked, ...]
    bank: "FeatureBank | None" = None
    matched: tuple[str | None, ...] = ()
    phase: str = DISCOVERY
    stopped: frozenset[tuple[int, int, str]] = frozenset()

    @property
    def per_value(self) -> int:
        """Runs of one feature under one value."""
        return sum(len(asked.trials) for asked in self.prompts)

    @property
    def runs(self) -> int:
        """Runs of all features under one value, without what has stopped."""
        if self.bank is None or not self.stopped:
            return self.per_value * (1 if self.bank is None else len(self.bank))
        return sum(len(asked.trials) for asked in self.prompts for _ in self.rows_in(asked.prompt))

    def rows_in(self, prompt: Prompt) -> Iterator[int]:
        """Rows of the bank that are asked in a prompt."""
        assert self.bank is not None
        for i in range(len(self.bank)):
            name = int(self.bank.layer[i]), int(self.bank.feature[i]), scene_of(prompt.name)
            if name not in self.stopped:
                yield i


def arms(chunk: Chunk, patches: "dict[int, dict[str, Patch]]") -> Iterator[Arm]:
    """Every arm of a chunk.

    Args:
        patches: Row of the bank -> name of the arm -> patch; empty for the baseline.
    """
    for prompt in chunk.prompts:
        if chunk.bank is None:
            yield Arm(prompt, BASELINE, None, BASELINE, phase=chunk.phase)
            continue
        for i in chunk.rows_in(prompt.prompt):
            of_feature = patches[i]
            layer, feature = int(chunk.bank.layer[i]), int(chunk.bank.feature[i])
            named = (layer, None if chunk.role == "reconstruction" else feature)
            for name, patch in of_feature.items():
                matched = chunk.matched[i] if chunk.matched else None
                yield Arm(prompt, name, patch, chunk.role, named, matched, chunk.phase)
