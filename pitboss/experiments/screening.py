"""Exp2's question without sampling: what each feature's patch does to the first token's decision.

A unit is one chunk of features of one layer with all prompts and values. The features are those of
the study's feature bank, or every feature of every layer; then SAEs are read one after the other,
the next while the device works on this one.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from pitboss.engine.screening import Screen, Screened
from pitboss.errors import BadInput
from pitboss.experiments import features
from pitboss.experiments.choices import BET, STOP, choice_tokens, require_decided
from pitboss.experiments.identity import model_identity, prompts_identity, sae_identity
from pitboss.experiments.lane import Lane
from pitboss.experiments.units import Unit
from pitboss.games.prompts import Prompt, render
from pitboss.games.reading import reader
from pitboss.models.catalogue import sae_release
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import load_sae
from pitboss.saes.streaming import SaeStream
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Screening, Study


@dataclass(frozen=True)
class Chunk:
    """Some features of one layer.

    Attributes:
        layer: Block that is patched.
        features: int64 [features], ids; a range where there is no bank.
        bank: The features' vectors and values; None where they are those of the layer's SAE and of
            the study's statistics.
        following: The layer that comes after this one, to be read ahead.
    """

    layer: int
    features: np.ndarray
    bank: FeatureBank | None = None
    following: int | None = None


def section(study: Study) -> Screening:
    """The study's screening section.

    Raises:
        BadInput: It has none.
    """
    if study.screening is None:
        raise BadInput(
            f"The study {study.name} has no screening section.",
            where="study file",
            next="Add one, such as `screening: {model: llama}`.",
        )
    return study.screening


def units(study: Study, store: Store) -> list[Unit]:
    """The chunks of the features to be screened, of one layer each.

    Raises:
        BadInput: The study has no screening section, or its feature bank is missing or damaged.
        Incomplete: The statistics that give all features their values are missing.
        Mismatch: The bank in its place was made for something else.
    """
    settings = section(study)
    if settings.features == "all":
        return list(_every_feature(study, store))
    return list(_selected(study, store))


def _selected(study: Study, store: Store) -> Iterator[Unit]:
    settings = section(study)
    bank = features.load_bank(study, store, settings.model)
    layers = bank.layer.tolist()
    for layer in sorted(set(layers)):
        index = [i for i, at in enumerate(layers) if at == layer]
        for start in range(0, len(index), settings.chunk):
            some = bank.rows(index[start : start + settings.chunk])
            chunk = Chunk(layer, some.feature.numpy(), some)
            identity = {
                "sae": bank.meta["saes"][str(layer)],
                "features": some.feature.tolist(),
                "values": {name: some.values[name].tolist() for name in settings.values},
            }
            yield _unit(study, chunk, start, identity)


def _every_feature(study: Study, store: Store) -> Iterator[Unit]:
    settings, layers = section(study), study.features.layers
    d_sae = sae_release(study.models[settings.model].sae).d_sae
    store.coverage("statistics", [_statistics_key(study)]).require()
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        for start in range(0, d_sae, settings.chunk):
            ids = np.arange(start, min(start + settings.chunk, d_sae))
            chunk = Chunk(layer, ids, following=following)
            identity = {
                "sae": sae_identity(study, settings.model, layer, study.features.gate),
                "features": [int(ids[0]), int(ids[-1])],
                "values": {"names": settings.values, "of": _statistics_key(study)},
            }
            yield _unit(study, chunk, start, identity)


def _unit(study: Study, chunk: Chunk, start: int, identity: dict[str, Any]) -> Unit:
    settings = section(study)
    model = model_identity(study, settings.model)
    model.pop("precision", None)  # 8-bit products would blur what is to be exact
    return Unit(
        experiment="screening",
        kind="screening",
        slug=f"{settings.model}/L{chunk.layer:02d}-{start:06d}",
        identity={
            **model,
            "width": settings.width,
            "prompts": prompts_identity(settings.prompts),
            "reader": f"menu/{reader('menu').version}",
            "mass": settings.with_mass,
            **identity,
        },
        rows=len(chunk.features) * len(settings.prompts) * len(settings.values),
        payload=chunk,
    )


def _statistics_key(study: Study) -> str:
    return features.selection_key(study, section(study).model)


def means(study: Study, store: Store, names: Sequence[str]) -> dict[int, np.ndarray]:
    """What every feature can be set to: layer -> float32 [names, features].

    Raises:
        Incomplete: The statistics are not there.
    """
    key = _statistics_key(study)
    store.coverage("statistics", [key]).require()
    wanted = [f"mean_{name}" for name in names]
    frame = store.read("statistics", [key], columns=["layer", "feature", *wanted]).to_pandas()
    return {
        int(layer): rows.sort_values("feature")[wanted].to_numpy(np.float32).T
        for layer, rows in frame.groupby("layer")
    }


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Compute all decisions of one chunk and commit them.

    Raises:
        BadInput: A prompt's first token does not make the decision.
    """
    if done := unit.ref(store):
        return done
    began = time.time()
    chunk: Chunk = unit.payload
    here = _resident(lane, store)
    values = _values(here, chunk, section(lane.study).values)
    dec, own = _vectors(here, chunk)
    found = here.screen.run(chunk.layer, dec, values.to(own.device)[None] - own[:, None])
    rows = _rows(lane, here, chunk, values.numpy(), own.cpu().numpy(), found)
    table = table_of("screening", rows)
    facts = {
        "device": str(lane.loaded.device),
        "width": here.screen.width,
        "unchanged": int(found.unchanged.sum()),
    }
    return unit.commit(store, table, began, facts)


class _Resident(NamedTuple):
    """What stays on a lane's device from chunk to chunk."""

    screen: Screen
    prompts: list[Prompt]
    saes: SaeStream
    means: dict[int, np.ndarray]  # as of `means`; empty for selected features


def _resident(lane: Lane, store: Store) -> _Resident:
    if "screening" in lane.kept:
        kept: _Resident = lane.kept["screening"]
        return kept
    settings, loaded = section(lane.study), lane.loaded
    prompts = [render(name) for name in settings.prompts]
    choices = choice_tokens(loaded, prompts)
    screen = Screen(
        loaded,
        width=settings.width,
        prompts=[tuple(loaded.encode(prompt.text)) for prompt in prompts],
        choices=choices,
        mass=settings.with_mass,
    )
    require_decided(screen, prompts, settings.min_decided_mass)
    release, gate = lane.study.models[lane.alias].sae, lane.study.features.gate
    stream = SaeStream(lambda layer: load_sae(release, layer, gate, loaded.device))
    every = means(lane.study, store, settings.values) if settings.features == "all" else {}
    lane.kept["screening"] = made = _Resident(screen, prompts, stream, every)
    return made


def _values(here: _Resident, chunk: Chunk, names: Sequence[str]) -> torch.Tensor:
    """What the chunk's features are set to: float32 [values, features], on the CPU."""
    if chunk.bank is not None:
        return torch.stack([chunk.bank.values[name].cpu() for name in names])
    return torch.from_numpy(here.means[chunk.layer][:, chunk.features])


@torch.inference_mode()
def _vectors(here: _Resident, chunk: Chunk) -> tuple[torch.Tensor, torch.Tensor]:
    """Decoder rows [features, d_model] and own activations [prompts, features]."""
    clean = here.screen.clean(chunk.layer).float()
    if chunk.bank is not None:
        bank = chunk.bank.to(clean.device)
        return bank.dec, torch.stack([bank.activation(x) for x in clean])
    sae = here.saes.get(chunk.layer, chunk.following)
    some = slice(int(chunk.features[0]), int(chunk.features[-1]) + 1)
    return sae.W_dec[some], sae.encode(clean)[:, some]


def _rows(
    lane: Lane,
    here: _Resident,
    chunk: Chunk,
    set_to: np.ndarray,
    own: np.ndarray,
    found: Screened,
) -> pd.DataFrame:
    """One row a prompt, value and feature, in this order."""
    settings, decisions = section(lane.study), found.decisions
    prompts, values, ids = found.unchanged.shape
    shape = (prompts, values, ids)
    log_odds = decisions.log_odds(STOP, BET)
    unpatched = here.screen.unpatched.log_odds(STOP, BET)[:, None, None]
    p = np.exp(decisions.log_p)
    names = np.array([prompt.name for prompt in here.prompts], dtype=object)

    def each(array: np.ndarray) -> np.ndarray:
        return np.broadcast_to(array, shape).ravel()

    return pd.DataFrame(
        {
            "model": lane.loaded.spec.id,
            "layer": chunk.layer,
            "feature": each(chunk.features),
            "prompt": each(names[:, None, None]),
            "value_name": each(np.array(settings.values, dtype=object)[None, :, None]),
            "value": each(set_to[None]),
            "own": each(own[:, None]),
            "p_bet": each(p[..., decisions.choices.index(BET)]),
            "p_stop": each(p[..., decisions.choices.index(STOP)]),
            "decided": None if decisions.decided is None else each(decisions.decided),
            "log_odds": each(log_odds),
            "unpatched": each(unpatched),
            "shift": each(log_odds - unpatched),
            "unchanged": each(found.unchanged),
        }
    )
