"""Pairs of responses to one prompt with the same noise: unpatched, and with a feature set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pitboss.errors import BadInput
from pitboss.games.scenes import scene


@dataclass(frozen=True)
class Example:
    """One prompt answered twice with the same noise: unpatched, and with the feature set.

    Attributes:
        prompt: Name of the prompt that was answered.
        trial: Number of the run; its noise is the same in both.
        arm: Which value the feature was set to: safe or risky.
        value: That value, in the SAE's own units.
        unpatched: The response without the patch.
        patched: The response with it.
        decision_unpatched: bet, stop or none.
        decision_patched: The same with the patch.
        text: The prompt's text; empty where the study does not store it.
    """

    prompt: str
    trial: int
    arm: str
    value: float
    unpatched: str
    patched: str
    decision_unpatched: str
    decision_patched: str
    text: str = ""

    @property
    def changed(self) -> bool:
        """Whether the patch changed the decision."""
        return self.decision_unpatched != self.decision_patched


def examples(
    trials: pd.DataFrame, baseline: pd.DataFrame, finding: Mapping[str, Any]
) -> list[Example]:
    """For each scene the pair that shows most; that of the strongest effect comes first."""
    if trials.empty or baseline.empty:
        return []
    pairs = trials.merge(
        baseline, on=["phase", "scene", "prompt", "trial"], suffixes=("", "_unpatched")
    )
    pairs["changed"] = pairs["decision"] != pairs["decision_unpatched"]
    pairs["shifted"] = pairs.groupby(["scene", "arm"])["changed"].transform("mean")
    pairs["read"] = (pairs["decision"] != "none") & (pairs["decision_unpatched"] != "none")
    pairs["strongest"] = pairs["scene"] == finding.get("prompt")
    pairs["differs"] = pairs["response"] != pairs["response_unpatched"]
    order = ["strongest", "changed", "shifted", "read", "differs"]
    pairs = pairs.sort_values([*order, "arm", "trial"], ascending=[False] * 5 + [True, True])
    return [
        Example(
            prompt=str(row.prompt),
            trial=int(row.trial),
            arm=str(row.arm),
            value=float(row.value),
            unpatched=str(row.response_unpatched),
            patched=str(row.response),
            decision_unpatched=str(row.decision_unpatched),
            decision_patched=str(row.decision),
            text=_prompt_text(str(row.prompt)),
        )
        for row in pairs.groupby("scene", sort=False).head(1).itertuples()
    ]


def _prompt_text(name: str) -> str:
    """The text of a scene or generated state; empty for a prompt that is not known any more."""
    try:
        return scene(name).text
    except BadInput:
        return ""
