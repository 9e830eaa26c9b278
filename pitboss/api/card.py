"""All that a study knows about one feature, and two responses that show what its patch does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pitboss.api.examples import Example, examples
from pitboss.api.shown import Shown
from pitboss.errors import BadInput
from pitboss.report.reader import Reader, plain_rows, where

BASELINE, FEATURE = "baseline", "feature"


@dataclass(frozen=True, repr=False)
class Card(Shown):
    """What there is about one feature. A table that its study does not have is empty.

    Attributes:
        study: Name of the study.
        model: Model id of the catalogue.
        layer: Patched block, from 0.
        feature: Feature id in the SAE of that layer.
        selected: The feature's row of `features`: its two values, d, p, q; empty if not selected.
        finding: Its row of `findings`: causal, confirmed, direction, strongest effect; empty if
            it was not patched.
        effects: Its rows of `effects`, one a phase, prompt, contrast and outcome.
        arms: Runs, stops and bets by phase, prompt and arm, the baseline of these prompts included.
        screening: Its rows of `screening`.
        rank: Its place in `ranking`; None if it was not screened.
        tokens: Its rows of `tokens`.
        words: Its own rows of `words`, strongest first.
        contexts: Its rows of `contexts`: where it fires most.
        description: What a language model guessed it is about, and which; empty if none did.
        examples: Two responses a scene at most, where the patch changed the decision first.
        trials: Its patched runs.
    """

    study: str
    model: str
    layer: int
    feature: int
    selected: Mapping[str, Any]
    finding: Mapping[str, Any]
    effects: pd.DataFrame
    arms: pd.DataFrame
    screening: pd.DataFrame
    rank: int | None
    tokens: pd.DataFrame
    words: pd.DataFrame
    contexts: pd.DataFrame
    description: str
    examples: tuple[Example, ...]
    trials: pd.DataFrame

    @property
    def name(self) -> str:
        """Such as L3/F12."""
        return f"L{self.layer}/F{self.feature}"

    @property
    def causal(self) -> bool | None:
        """Whether it was found causal; None if it was not patched."""
        return bool(self.finding["causal"]) if self.finding else None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a JSON file; the runs themselves are left out."""
        tables = ("effects", "arms", "screening", "tokens", "words", "contexts")
        return {
            "study": self.study,
            "model": self.model,
            "layer": self.layer,
            "feature": self.feature,
            "name": self.name,
            "selected": dict(self.selected),
            "finding": dict(self.finding),
            "rank": self.rank,
            "description": self.description,
            **{name: plain_rows(getattr(self, name)) for name in tables},
            "examples": [vars(example) for example in self.examples],
        }


def make_card(results: Reader, layer: int, feature: int) -> Card:
    """Collect what a study knows about one feature.

    Raises:
        BadInput: No table of the study mentions it.
    """
    selected = _one(of_feature(results, "features", layer, feature))
    finding = _one(of_feature(results, "findings", layer, feature))
    effects = of_role(of_feature(results, "effects", layer, feature), FEATURE)
    trials = of_role(of_feature(results, "trials", layer, feature), FEATURE)
    screening = of_feature(results, "screening", layer, feature)
    ranking = of_feature(results, "ranking", layer, feature)
    if not selected and trials.empty and screening.empty:
        raise _unknown(results, layer, feature)
    baseline = _baseline(results, trials)
    words = _scope(results, f"L{layer}/F{feature}")
    described = of_feature(results, "descriptions", layer, feature)
    return Card(
        study=results.name,
        model=_model(results, selected, trials, screening),
        layer=layer,
        feature=feature,
        selected=selected,
        finding=finding,
        effects=effects.reset_index(drop=True),
        arms=_arms(pd.concat([baseline, trials])) if len(trials) else pd.DataFrame(),
        screening=screening.reset_index(drop=True),
        rank=int(ranking["rank"].iloc[0]) if len(ranking) else None,
        tokens=_ranked(of_feature(results, "tokens", layer, feature)),
        words=words,
        contexts=_ranked(of_feature(results, "contexts", layer, feature)),
        description=_guess(described),
        examples=tuple(examples(trials, baseline, finding)),
        trials=trials.reset_index(drop=True),
    )


def of_feature(results: Reader, kind: str, layer: int, feature: int) -> pd.DataFrame:
    """A kind's rows of one feature, so that large tables need not fit into memory."""
    return _matching(results, kind, layer=layer, feature=feature)


def of_role(frame: pd.DataFrame, role: str) -> pd.DataFrame:
    """The rows of one role; controls carry the names of features, too."""
    return frame[frame["role"] == role] if "role" in frame.columns else frame


def _matching(results: Reader, kind: str, **wanted: Any) -> pd.DataFrame:
    """Rows in which some columns have these values (None: are empty), read without the others."""
    found = results.frame(kind, where=where(**wanted))
    return pd.DataFrame() if found is None else found


def _baseline(results: Reader, trials: pd.DataFrame) -> pd.DataFrame:
    """The unpatched runs of the prompts in which the feature was patched."""
    if trials.empty:
        return pd.DataFrame()
    runs = _matching(results, "trials", role=BASELINE, arm=BASELINE)
    if runs.empty:
        return runs
    wanted = trials[["phase", "prompt"]].drop_duplicates()
    return runs.merge(wanted, on=["phase", "prompt"])


def _arms(runs: pd.DataFrame) -> pd.DataFrame:
    """Counts by scene, phase and arm; the rate is of the decided runs."""
    counted = runs.groupby(["scene", "phase", "arm", "decision"]).size().unstack(fill_value=0)
    counted = counted.reindex(columns=["stop", "bet", "none"], fill_value=0)
    counted = counted.rename_axis(columns=None)
    decided = counted["stop"] + counted["bet"]
    counted["stop_rate"] = (counted["stop"] / decided).where(decided > 0)
    return counted.reset_index().rename(columns={"scene": "prompt"})


def _guess(described: pd.DataFrame) -> str:
    if described.empty:
        return ""
    first = described.iloc[0]
    return f"{first['text']} (a guess by {first['by']}, no measurement)"


def _scope(results: Reader, scope: str) -> pd.DataFrame:
    words = _matching(results, "words", scope=scope)
    if words.empty:
        return words
    order = words["z"].abs().sort_values(ascending=False, kind="stable").index
    return words.loc[order].reset_index(drop=True)


def _ranked(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("rank").reset_index(drop=True) if len(frame) else frame


def _one(frame: pd.DataFrame) -> dict[str, Any]:
    return plain_rows(frame.head(1))[0] if len(frame) else {}


def _model(results: Reader, selected: Mapping[str, Any], *frames: pd.DataFrame) -> str:
    if selected:
        return str(selected["model"])
    return next((str(frame["model"].iloc[0]) for frame in frames if len(frame)), results.name)


def _unknown(results: Reader, layer: int, feature: int) -> BadInput:
    near = ""
    some = results.frame("features", ["layer", "feature"])
    if some is not None:
        away = some.astype("int64") - [layer, feature]
        order = away["layer"].abs() * 1_000_000 + away["feature"].abs()
        chosen = some.loc[order.sort_values(kind="stable").index].head(5)
        near = ", ".join(f"L{row.layer}/F{row.feature}" for row in chosen.itertuples())
    return BadInput(
        f"The study {results.name} knows nothing about L{layer}/F{feature}: it was neither "
        "selected, nor screened, nor patched.",
        where=str(results.path),
        next=f"The nearest selected ones: {near}." if near else "No feature is selected yet.",
    )
