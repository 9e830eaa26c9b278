"""Two studies side by side: settings, counts, findings; and what cannot be compared, and why.

A feature's number means something within one SAE of one model only. So findings are matched by
layer and feature only if both studies read the same model through the same SAEs; otherwise they
are refused, with the reason. Other settings that differ are named beside the result.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pitboss.analysis.effects import PRIMARY
from pitboss.api.results import Results
from pitboss.api.shown import Shown
from pitboss.errors import Mismatch
from pitboss.report.reader import plain_rows
from pitboss.store import KINDS

ABSENT = "(not set)"
FEATURE_KEYS = ["layer", "feature"]
EFFECT_KEYS = ["role", "phase", "layer", "feature", "prompt", "contrast", "outcome"]
# Settings under which a patched run means something else, though its feature is the same.
_INTERVENTION = ("mode", "positions", "values", "gate")
_CUTOFF = ("fdr", "trials", "reader")


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """What differs between study a and study b.

    Attributes:
        a: Name of the first study.
        b: Name of the second.
        settings: One row a setting that differs: setting (its path), a, b.
        counts: One row a table: table, rows_a, rows_b, difference.
        refused: Why findings and effects cannot be compared; empty if they can.
        cautions: What to keep in mind where they can.
    """

    a: str
    b: str
    settings: pd.DataFrame
    counts: pd.DataFrame
    refused: tuple[str, ...]
    cautions: tuple[str, ...]
    _findings: pd.DataFrame | None = None
    _effects: pd.DataFrame | None = None

    @property
    def findings(self) -> pd.DataFrame:
        """One row a feature that either study patched.

        Columns: layer, feature, change (gained: causal in b only; lost: in a only; turned: in
        both, in opposite directions; kept: in both; neither; only a, only b: patched there alone),
        and of each study causal, direction, prompt, difference, ci_low, ci_high, q.

        Raises:
            Mismatch: They cannot be compared; says why.
        """
        return self._allowed(self._findings)

    @property
    def effects(self) -> pd.DataFrame:
        """One row a tested effect of both studies.

        Columns: role, phase, layer, feature, prompt, contrast, outcome, difference_a,
        difference_b, change (b minus a), change_low, change_high (95 %), differs (that interval
        excludes 0; of many effects, one in twenty does so by chance alone).

        Raises:
            Mismatch: They cannot be compared; says why.
        """
        return self._allowed(self._effects)

    @property
    def changes(self) -> dict[str, int]:
        """How many features each change happened to; empty if refused or not tested yet."""
        if self._findings is None:
            return {}
        counted = self._findings["change"].value_counts()
        return {str(name): int(number) for name, number in counted.items()}

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file."""
        both = {"findings": self._findings, "effects": self._effects}
        return {
            "a": self.a,
            "b": self.b,
            "settings": plain_rows(self.settings),
            "counts": plain_rows(self.counts),
            "refused": list(self.refused),
            "cautions": list(self.cautions),
            "changes": self.changes,
            **{n: None if frame is None else plain_rows(frame) for n, frame in both.items()},
        }

    def _allowed(self, frame: pd.DataFrame | None) -> pd.DataFrame:
        if frame is None:
            raise Mismatch(
                f"The findings of {self.a} and {self.b} cannot be compared: "
                f"{' '.join(self.refused)}",
                next="Settings and counts can be. Compare studies of one model and one SAE "
                "release, after their effects are tested.",
            )
        return frame


def compare(a: Results, b: Results) -> Comparison:
    """Compare study b with study a."""
    settings = _settings(a, b)
    refused = _refused(a, b)
    found: dict[str, pd.DataFrame] = {}
    if not refused:
        found = {"_findings": _findings(a, b), "_effects": _effects(a, b)}
    return Comparison(
        a.name,
        b.name,
        settings,
        _counts(a, b),
        tuple(refused),
        () if refused else tuple(_cautions(a, b, settings)),
        **found,
    )


def fields(settings: Any, path: str = "") -> dict[str, Any]:
    """Nested settings as path -> value, such as experiments.patching.trials -> 20."""
    if isinstance(settings, Mapping) and settings:
        return {
            name: value
            for key, below in settings.items()
            for name, value in fields(below, f"{path}.{key}" if path else str(key)).items()
        }
    return {path: settings}


def _settings(a: Results, b: Results) -> pd.DataFrame:
    here, there = fields(a.settings), fields(b.settings)
    rows = [
        {"setting": name, "a": here.get(name, ABSENT), "b": there.get(name, ABSENT)}
        for name in [*here, *(n for n in there if n not in here)]
        if name != "name" and here.get(name, ABSENT) != there.get(name, ABSENT)
    ]
    return pd.DataFrame(rows, columns=["setting", "a", "b"])


def _counts(a: Results, b: Results) -> pd.DataFrame:
    rows = []
    for kind in KINDS:
        ours, theirs = (sum(ref.rows for ref in r.refs(kind)) for r in (a, b))
        if ours or theirs:
            rows.append({"table": kind, "a": ours, "b": theirs, "difference": theirs - ours})
    return pd.DataFrame(rows, columns=["table", "a", "b", "difference"])


def _refused(a: Results, b: Results) -> list[str]:
    reasons = []
    ours, theirs = _read_through(a), _read_through(b)
    for what in ours:
        if ours[what] != theirs[what]:
            reasons.append(f"Another {what}: {ours[what]} in {a.name}, {theirs[what]} in {b.name}.")
    for results in (a, b):
        if not results.has("findings"):
            reasons.append(f"{results.name} has no findings yet: its effects are not tested.")
    return reasons


def _patched(results: Results) -> dict[str, Any]:
    """Settings of the patching that is seen, and of what its features come from: the model too."""
    made = results.settings_of("patching")
    found = dict(made)
    while made and not found.get("model"):
        made = results.experiments[made.get("bank") or made["selection"]]
        found |= {name: value for name, value in made.items() if found.get(name) is None}
    return found


def _read_through(results: Results) -> dict[str, Any]:
    """What gives a feature's number its meaning: weights and SAEs of the patched model."""
    alias = _patched(results).get("model")
    if alias is None:
        return dict.fromkeys(("model", "revision of the model", "SAE release"))
    choice, resolved = results.settings["models"][alias], results.settings["resolved"][alias]
    return {
        "model": choice["id"],
        "revision of the model": resolved.get("revision"),
        "SAE release": choice["sae"],
    }


def _cautions(a: Results, b: Results, settings: pd.DataFrame) -> list[str]:
    said = []
    ours, theirs = _patched(a), _patched(b)
    if other := [name for name in _INTERVENTION if ours.get(name) != theirs.get(name)]:
        said.append(f"Not the same intervention: {', '.join(other)} differ.")
    if other := [name for name in _CUTOFF if ours.get(name) != theirs.get(name)]:
        said.append(
            f"Gained and lost may come from {', '.join(other)} alone; look at the differences."
        )
    if other := sorted(name for name in settings["setting"] if name.startswith("versions.")):
        said.append(f"Computed with other versions: {', '.join(other)}.")
    if a.settings["seed"] == b.settings["seed"]:
        said.append(
            "Both draw with the same seed: runs share their noise, so the intervals of the "
            "changes, which take the studies as independent, are too wide."
        )
    prompts = [set(each["prompts"]) for each in (ours, theirs)]
    if prompts[0] != prompts[1]:
        common = ", ".join(sorted(prompts[0] & prompts[1])) or "none"
        said.append(f"Effects are compared in the prompts that both have: {common}.")
    return said


def _findings(a: Results, b: Results) -> pd.DataFrame:
    shown = ["causal", "direction", "prompt", "difference", "ci_low", "ci_high", "q"]
    tables = [r.table("findings", [*FEATURE_KEYS, *shown]) for r in (a, b)]
    both = tables[0].merge(tables[1], on=FEATURE_KEYS, how="outer", suffixes=("_a", "_b"))
    both.insert(2, "change", [_change(row) for row in both.to_dict("records")])
    return both.sort_values(FEATURE_KEYS).reset_index(drop=True)


def _change(row: Mapping[str, Any]) -> str:
    ours, theirs = row["causal_a"], row["causal_b"]
    if pd.isna(theirs):
        return "only a"
    if pd.isna(ours):
        return "only b"
    if ours and theirs:
        return "kept" if row["direction_a"] == row["direction_b"] else "turned"
    return "gained" if theirs else "lost" if ours else "neither"


def _effects(a: Results, b: Results) -> pd.DataFrame:
    """Differences of differences, with the interval of Zou and Donner (2008).

    From two estimates with intervals of their own, without supposing symmetry: Statistics in
    Medicine 27, 1693-1702, equation 4. The studies are taken as independent.
    """
    shown = [*EFFECT_KEYS, "status", "difference", "ci_low", "ci_high"]
    tables = []
    for results in (a, b):
        table = results.table("effects", shown)
        tested = table["difference"].notna() & table["ci_low"].notna()
        tables.append(table[tested].drop(columns="status"))
    both = tables[0].merge(tables[1], on=EFFECT_KEYS, suffixes=("_a", "_b"))
    x, y = both["difference_a"], both["difference_b"]
    down = np.sqrt((y - both["ci_low_b"]) ** 2 + (both["ci_high_a"] - x) ** 2)
    up = np.sqrt((both["ci_high_b"] - y) ** 2 + (x - both["ci_low_a"]) ** 2)
    both["change"] = y - x
    both["change_low"], both["change_high"] = both["change"] - down, both["change"] + up
    both["differs"] = (both["change_low"] > 0) | (both["change_high"] < 0)
    kept = [*EFFECT_KEYS, "difference_a", "difference_b", "change", "change_low", "change_high"]
    primary = (both["contrast"] == PRIMARY) & (both["outcome"] == "stop")
    order = both.assign(first=primary, size=both["change"].abs())
    order = order.sort_values(
        ["first", "size", *FEATURE_KEYS], ascending=[False, False, True, True]
    )
    return order[[*kept, "differs"]].reset_index(drop=True)
