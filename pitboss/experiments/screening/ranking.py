"""Who leads a screening, and the bank of the features that lead."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pitboss.errors import BadInput
from pitboss.experiments.runtime.unit import Outcome
from pitboss.experiments.screening.settings import OF_GROUPS, contrasted
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, load_sae
from pitboss.store import Store

if TYPE_CHECKING:
    from pitboss.experiments.screening.experiment import Screening

_COLUMNS = ["layer", "feature", "prompt", "value_name", "log_odds", "shift", "unchanged"]


def rank_features(screening: "Screening") -> Outcome:
    """Rank all screened features, with the banks of those that lead if anything reads these.

    Raises:
        Incomplete: Parts of the screening are missing.
    """
    screening.store.coverage("screening", [unit.key for unit in screening.chunks]).require()
    ranked = rank(screening)
    banks = [
        partial(_keep, bank=leaders(screening, ranked, count), path=screening.bank_path(count))
        for count in screening.counts
    ]
    return Outcome({"ranking": ranked}, beside=banks)


def _keep(_: Store, *, bank: FeatureBank, path: Path) -> None:
    bank.save(path)


def rank(screening: "Screening") -> pd.DataFrame:
    """One row a feature, the strongest first; equal ones in the order of layer and feature."""
    frames = [_of_part(screening, unit.key) for unit in screening.chunks]
    frame = pd.concat(frames, ignore_index=True)
    size = frame[screening.settings.rank_by].abs()
    order = np.lexsort((frame["feature"], frame["layer"], -size))
    ranked = frame.iloc[order].reset_index(drop=True)
    model = screening.study.models[screening.model].id
    return ranked.assign(model=model, rank=np.arange(1, len(ranked) + 1))


def _of_part(screening: "Screening", key: str) -> pd.DataFrame:
    """Reduce a part, whose rows lie feature by feature, prompt by prompt, value by value."""
    prompts, values = sorted(screening.prompts), sorted(screening.values)
    table = screening.store.read("screening", [key], columns=_COLUMNS)
    shape = (-1, len(prompts), len(values))
    read = {
        name: table.column(name).to_numpy().reshape(shape)
        for name in ("layer", "feature", "log_odds", "shift", "unchanged")
    }
    shift = read["shift"].reshape(len(read["shift"]), -1)
    at = np.abs(shift).argmax(1)
    found = {
        "layer": read["layer"][:, 0, 0],
        "feature": read["feature"][:, 0, 0],
        "shift": np.take_along_axis(shift, at[:, None], 1)[:, 0],
        "prompt": np.array(prompts, dtype=object)[at // len(values)],
        "value_name": np.array(values, dtype=object)[at % len(values)],
        "unchanged": read["unchanged"].all((1, 2)),
    }
    if (names := contrasted(values)) is not None:
        first, second = (values.index(name) for name in names)
        contrast = read["log_odds"][..., first] - read["log_odds"][..., second]
        most = np.abs(contrast).argmax(1)
        found["contrast"] = np.take_along_axis(contrast, most[:, None], 1)[:, 0]
        found["contrast_prompt"] = np.array(prompts, dtype=object)[most]
    return pd.DataFrame(found)


def leaders(screening: "Screening", ranked: pd.DataFrame, count: int) -> FeatureBank:
    """The first features of a ranking that change anything, with their vectors and both values.

    Raises:
        BadInput: No feature changes anything.
    """
    assert screening.selection is not None  # a study whose patching has no values is refused
    leading = ranked[~ranked["unchanged"]].head(count)
    if leading.empty:
        raise BadInput(
            "No screened feature changes any decision, so there is none to be patched.",
            where=f"screening {screening.name}",
            next="Look at the table `screening`; screen other scenes, layers or values.",
        )
    chosen = set(zip(leading["layer"].tolist(), leading["feature"].tolist(), strict=True))
    meta = screening.bank_meta(count)
    if not screening.settings.every_feature:
        bank = screening.selection.bank()
        pairs = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
        rows = bank.rows([i for i, pair in enumerate(pairs) if pair in chosen])
        return replace(rows, meta={**meta, "saes": bank.meta["saes"]})
    by_layer: dict[int, list[int]] = {}
    for layer, feature in sorted(chosen):
        by_layer.setdefault(layer, []).append(feature)
    means = screening.selection.means(OF_GROUPS)
    values = {
        name: {(layer, i): float(means[layer][row, i]) for layer, i in chosen}
        for row, name in enumerate(OF_GROUPS)
    }
    return FeatureBank.build(_saes(screening, list(by_layer)), by_layer, values=values, meta=meta)


def _saes(screening: "Screening", layers: list[int]) -> Iterator[SaeLayer]:
    """One after the other; only the chosen columns and rows of each stay in memory."""
    for layer in layers:
        yield load_sae(screening.sae, layer, screening.gate)
