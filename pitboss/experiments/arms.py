"""An arm of Exp2: one prompt under one patch or none, and what its runs are called."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pitboss.analysis.effects import CONFIRMATION, DISCOVERY
from pitboss.engine import Patch
from pitboss.games.prompts import Prompt
from pitboss.saes.bank import FeatureBank
from pitboss.studies.model import Patching

BASELINE = "baseline"


@dataclass(frozen=True, eq=False)
class Arm:
    """One prompt under one value of one feature, under a control, or under nothing.

    Attributes:
        scene: The prompt's name, or that of the set of states it belongs to.
        name: baseline, safe, risky, own or reconstruction.
        role: What is patched: baseline, feature, or a control's kind.
        feature: (layer, feature) as it is stored; the feature is None for a reconstruction.
        matched: The patched feature that a control is matched to, such as L3/F12.
    """

    prompt: Prompt
    scene: str
    name: str
    patch: Patch | None
    role: str
    feature: tuple[int, int | None] | None = None
    matched: str | None = None
    phase: str = DISCOVERY

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
            "scene": self.scene,
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


def bank_patch(bank: FeatureBank, i: int, value: float | None, settings: Patching) -> Patch:
    """The patch that sets a bank's i-th feature to a value (None: to its own)."""
    return Patch(
        layer=int(bank.layer[i]),
        feature=int(bank.feature[i]),
        enc=bank.enc[i],
        shift=float(bank.shift[i]),
        scale=float(bank.scale[i]),
        bias=float(bank.bias[i]),
        threshold=float(bank.threshold[i]),
        dec=bank.dec[i],
        value=value,
        mode=settings.mode,
        positions=settings.positions,
    )
