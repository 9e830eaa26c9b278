"""Exp3: what the causal features are about: tokens their decoder rows promote, words they bring."""

import time
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import torch

from pitboss.analysis.effects import causal_features
from pitboss.analysis.tokens import top_tokens
from pitboss.analysis.words import compare_words
from pitboss.errors import Incomplete
from pitboss.experiments.patching import effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.arms import BASELINE
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

Rows: TypeAlias = "pd.DataFrame | list[dict[str, object]]"


class _Work(NamedTuple):
    causal: list[tuple[int, int]]
    effects: str


def unit(study: Study, store: Store) -> Unit:
    """The one unit of this experiment: all features found causal.

    Raises:
        Incomplete: The effects of the patching are not there yet.
    """
    pairs, found = causal(study, store)
    settings = study.words
    return Unit(
        experiment="words",
        kind="tokens",
        slug=f"{settings.model}/words",
        identity={
            "effects": found.sha256,
            "words": settings.model_dump(exclude={"contexts", "describe"}),
        },
        rows=len(pairs) * settings.top_tokens,
        beside=("words",),
        payload=_Work(pairs, found.key),
    )


def causal(study: Study, store: Store) -> tuple[list[tuple[int, int]], PartRef]:
    """(layer, feature) of every feature found causal, ascending, and the effects that say so.

    Raises:
        Incomplete: The effects of the patching are not there yet.
    """
    found = store.ref("effects", effects.key(study, store))
    if found is None:
        raise Incomplete("The patching's effects are not tested yet.")
    return causal_features(store.read("effects", [found.key]).to_pandas()), found


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Tokens by decoder row and words by response, committed as kinds words and tokens."""
    if done := unit.ref(store):
        return done
    began = time.time()
    work: _Work = unit.payload
    words = _words(lane.study, store, work.causal)
    store.commit("words", unit.key, table_of("words", words), identity=unit.identity)
    tokens = _tokens(lane, store, work.causal)
    return unit.commit(store, table_of("tokens", tokens), began, {"causal": len(work.causal)})


def _words(study: Study, store: Store, causal: list[tuple[int, int]]) -> Rows:
    """Safe-value against risky-value responses: all causal features together, then each one."""
    if not causal:
        return []
    keys = [u.key for u in patching.all_units(study, store)]
    trials = effects.read_trials(study, store, keys)
    # The states of a set are asked equally often in every arm, so the set is one stratum.
    trials["prompt"] = trials["scene"]
    of_causal = pd.MultiIndex.from_frame(trials[["layer", "feature"]].fillna(-1).astype(int)).isin(
        causal
    )
    patched = trials[of_causal & (trials["role"] == "feature")]
    baseline = trials[trials["arm"] == BASELINE]
    frames = [compare_words(pd.concat([patched, baseline]), prior=study.words.prior)]
    for layer, feature in causal:
        own = patched[(patched["layer"] == layer) & (patched["feature"] == feature)]
        frames.append(
            compare_words(
                pd.concat([own, baseline]), scope=f"L{layer}/F{feature}", prior=study.words.prior
            )
        )
    return pd.concat(frames, ignore_index=True)


def _tokens(lane: Lane, store: Store, causal: list[tuple[int, int]]) -> Rows:
    """The tokens each causal feature's decoder row promotes most."""
    settings, loaded = lane.study.words, lane.loaded
    bank = patched_bank(lane.study, store)
    place = {
        pair: i
        for i, pair in enumerate(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    }
    if not causal:
        return []
    chosen = bank.rows([place[pair] for pair in causal])
    model = loaded.model
    matrix = model.lm_head if settings.matrix == "unembedding" else model.model.embed_tokens
    norm: torch.Tensor = model.model.norm.weight.float()
    # Gemma's norm multiplies by one plus its weight.
    scale = norm + 1 if loaded.spec.family == "gemma2" else norm
    best = top_tokens(
        chosen.dec.numpy(),
        matrix.weight.detach().cpu().float().numpy(),  # not in float32 on the device
        norm_scale=scale.cpu().numpy(),
        top=settings.top_tokens,
        matrix=settings.matrix,
    )
    n, top = best.ids.shape
    return pd.DataFrame(
        {
            "model": loaded.spec.id,
            "sae": lane.study.models[lane.alias].sae,
            "layer": np.repeat([layer for layer, _ in causal], top),
            "feature": np.repeat([feature for _, feature in causal], top),
            "matrix": settings.matrix,
            "rank": np.tile(np.arange(1, top + 1), n),
            "token_id": best.ids.ravel(),
            "token": [loaded.tokenizer.decode([i]) for i in best.ids.ravel().tolist()],
            "score": best.scores.ravel(),
        }
    )
