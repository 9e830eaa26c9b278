"""Who leads the screening, and the bank of the features that patching is to confirm."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.selection import experiment as features
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, load_sae
from pitboss.saes.planted import planted
from pitboss.store import PartRef, Store, part_key, table_of
from pitboss.studies.model import Study

_COLUMNS = ["layer", "feature", "prompt", "value_name", "log_odds", "shift", "unchanged"]


def run(study: Study, store: Store) -> PartRef:
    """Rank all screened features, and write the bank of those to be confirmed if there are any.

    Raises:
        Incomplete: Parts of the screening are missing.
    """
    wanted = screening.units(study, store)
    store.coverage("screening", [unit.key for unit in wanted]).require()
    key, identity = _key(study, wanted), _identity(study, wanted)
    done = store.ref("ranking", key)
    if done is None:
        table = table_of("ranking", rank(study, store, wanted))
        done = store.commit("ranking", key, table, identity=identity)
    if study.patching.screen:
        _confirmed(study, store, key).save(_confirmed_path(study, store))
    return done


def key(study: Study, store: Store) -> str:
    """Content key of the ranking of this study's screening."""
    return _key(study, screening.units(study, store))


def _key(study: Study, units: list[Unit]) -> str:
    return part_key(screening.section(study).model, _identity(study, units))


def _identity(study: Study, units: list[Unit]) -> dict[str, Any]:
    settings = screening.section(study)
    return {"screening": [unit.key for unit in units], "rank_by": settings.rank_by}


def rank(study: Study, store: Store, units: list[Unit]) -> pd.DataFrame:
    """One row a feature, the strongest first; equal ones in the order of layer and feature."""
    settings = screening.section(study)
    frames = [_of_part(study, store, unit.key) for unit in units]
    frame = pd.concat(frames, ignore_index=True)
    size = frame[settings.rank_by].abs()
    order = np.lexsort((frame["feature"], frame["layer"], -size))
    ranked = frame.iloc[order].reset_index(drop=True)
    return ranked.assign(model=study.spec(settings.model).id, rank=np.arange(1, len(ranked) + 1))


def _of_part(study: Study, store: Store, key: str) -> pd.DataFrame:
    """Reduce a part, whose rows lie feature by feature, prompt by prompt, value by value."""
    settings = screening.section(study)
    prompts, values = sorted(settings.prompts), sorted(settings.values)
    table = store.read("screening", [key], columns=_COLUMNS)
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
    if len(values) == 2:
        log_odds = read["log_odds"]
        contrast = log_odds[..., values.index("safe")] - log_odds[..., values.index("risky")]
        most = np.abs(contrast).argmax(1)
        found["contrast"] = np.take_along_axis(contrast, most[:, None], 1)[:, 0]
        found["contrast_prompt"] = np.array(prompts, dtype=object)[most]
    return pd.DataFrame(found)


def top(study: Study, store: Store, n: int | None = None) -> pd.DataFrame:
    """The first n rows of the ranking, or all.

    Raises:
        Incomplete: The ranking is not there.
    """
    return store.read("ranking", [key(study, store)]).slice(0, n).to_pandas()


def planted_among(study: Study, ranked: pd.DataFrame, role: str) -> NDArray[np.bool_]:
    """Which rows of a ranking are features planted in this role ("causal" or "null")."""
    known = planted(study.models[screening.section(study).model].sae)
    pairs = {(layer, feature) for layer, roles in known.items() for feature in roles[role]}
    names = zip(ranked["layer"], ranked["feature"], strict=True)
    return np.array([name in pairs for name in names], dtype=bool)


def patched_bank(study: Study, store: Store) -> FeatureBank:
    """The features that patching sets: the selected ones, or those that lead the screening.

    Raises:
        BadInput: The bank does not exist or is damaged.
        Mismatch: The bank in its place was made for something else.
    """
    if not study.patching.screen:
        return features.load_bank(study, store, study.patching.model)
    ranking = key(study, store)
    expect = _confirmed_meta(study, ranking)
    return FeatureBank.load(_confirmed_path(study, store), expect=expect)


def screened_identity(study: Study, store: Store) -> Mapping[str, Any]:
    """What a patching unit's identity says of the screening that chose its features."""
    if not study.patching.screen:
        return {}
    return {"screened": {"ranking": key(study, store), "confirm": study.patching.confirm}}


def _confirmed_path(study: Study, store: Store) -> Path:
    return store.path / "banks" / f"{study.patching.model}-confirm.safetensors"


def _confirmed_meta(study: Study, ranking: str) -> dict[str, Any]:
    choice = study.models[study.patching.model]
    return {
        "model": choice.id,
        "sae": choice.sae,
        "gate": study.features.gate,
        "ranking": ranking,
        "confirm": study.patching.confirm,
    }


def _confirmed(study: Study, store: Store, ranking: str) -> FeatureBank:
    """The leading features that change anything, with their vectors and both values."""
    ranked = store.read("ranking", [ranking], columns=["layer", "feature", "unchanged"]).to_pandas()
    leading = ranked[~ranked["unchanged"]].head(study.patching.confirm)
    chosen = set(zip(leading["layer"].tolist(), leading["feature"].tolist(), strict=True))
    meta = _confirmed_meta(study, ranking)
    if screening.section(study).features == "selected":
        bank = features.load_bank(study, store, study.patching.model)
        pairs = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
        rows = bank.rows([i for i, pair in enumerate(pairs) if pair in chosen])
        return replace(rows, meta={**meta, "saes": bank.meta["saes"]})
    by_layer: dict[int, list[int]] = {}
    for layer, feature in sorted(chosen):
        by_layer.setdefault(layer, []).append(feature)
    means = screening.means(study, store, ["safe", "risky"])
    values = {
        name: {(layer, i): float(means[layer][row, i]) for layer, i in chosen}
        for row, name in enumerate(("safe", "risky"))
    }
    return FeatureBank.build(_saes(study, list(by_layer)), by_layer, values=values, meta=meta)


def _saes(study: Study, layers: list[int]) -> Iterator[SaeLayer]:
    """One after the other; only the chosen columns and rows of each stay in memory."""
    for layer in layers:
        yield load_sae(study.models[study.patching.model].sae, layer, study.features.gate)
