"""Which features a screening computes together: chunks of one layer each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitboss.experiments.runtime.identity import model_identity, prompts_identity, sae_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.settings import OF_GROUPS
from pitboss.games.reading import reader
from pitboss.games.scenes import texts_hash
from pitboss.models.catalogue import sae_release

if TYPE_CHECKING:
    from pitboss.experiments.screening.experiment import Screening
    from pitboss.saes.bank import FeatureBank

_MOST_ROWS = 1 << 21
"""Rows of a chunk at most, however many states are asked in; in memory they take 400 MB."""


@dataclass(frozen=True)
class Chunk:
    """Some features of one layer.

    Attributes:
        layer: Block that is patched.
        features: int64 [features], ids; a range where there is no bank.
        bank: The features' vectors and values; None where they are those of the layer's SAE.
        following: The layer that comes after this one, to be read ahead.
    """

    layer: int
    features: NDArray[np.int64]
    bank: "FeatureBank | None" = None
    following: int | None = None


def selected_chunks(screening: "Screening") -> Iterator[Unit]:
    """The selected features, layer by layer.

    Raises:
        BadInput: The bank of the selection is not there, or it is damaged.
        Mismatch: The bank in its place was made for something else.
    """
    assert screening.selection is not None  # without one every feature is screened
    bank = screening.selection.bank()
    layers = bank.layer.tolist()
    for layer in sorted(set(layers)):
        index = [i for i, at in enumerate(layers) if at == layer]
        for start in range(0, len(index), _size(screening)):
            some = bank.rows(index[start : start + _size(screening)])
            identity = {
                "sae": bank.meta["saes"][str(layer)],
                "features": some.feature.tolist(),
                "values": {
                    name: some.values[name].tolist() if name in OF_GROUPS else name
                    for name in screening.values
                },
            }
            yield _unit(screening, Chunk(layer, some.feature.numpy(), some), start, identity)


def all_chunks(screening: "Screening") -> Iterator[Unit]:
    """Every feature of every layer.

    Raises:
        Incomplete: The statistics that give the features their values are missing.
    """
    layers, d_sae = screening.layers, sae_release(screening.sae).d_sae
    values: dict[str, Any] = {"names": screening.values}
    if screening.means_of is not None:
        key = screening.means_of.key
        screening.store.coverage("statistics", [key]).require()
        values["of"] = key
    for layer, following in zip(layers, [*layers[1:], None], strict=True):
        for start in range(0, d_sae, _size(screening)):
            ids = np.arange(start, min(start + _size(screening), d_sae))
            identity = {
                "sae": sae_identity(screening.study, screening.model, layer, screening.gate),
                "features": [int(ids[0]), int(ids[-1])],
                "values": values,
            }
            yield _unit(screening, Chunk(layer, ids, following=following), start, identity)


def _size(screening: "Screening") -> int:
    """Features of a chunk at most."""
    return max(1, min(screening.settings.chunk, _MOST_ROWS // screening.rows_per_feature))


def _unit(screening: "Screening", chunk: Chunk, start: int, identity: dict[str, Any]) -> Unit:
    settings, states = screening.settings, screening.states
    model = model_identity(screening.study, screening.model)
    model.pop("precision", None)  # 8-bit products would blur what is to be exact
    asked = {"names": states, "texts": texts_hash(states)} if states else None
    return Unit(
        experiment=screening.name,
        task="screened chunk",
        kind="screening",
        slug=f"{screening.model}/L{chunk.layer:02d}-{start:06d}",
        identity={
            **model,
            "width": settings.width,
            "prompts": prompts_identity(settings.prompts),
            **({"states": asked} if asked else {}),
            "reader": f"menu/{reader('menu').version}",
            "mass": settings.with_mass,
            **identity,
        },
        rows=len(chunk.features) * screening.rows_per_feature,
        model=screening.model,
        payload=chunk,
    )
