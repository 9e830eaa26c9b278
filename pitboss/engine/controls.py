"""Control arms: random directions and features that are matched to the real ones in size.

A control is named. It is a function of the study's seed and that name alone, by the same counted
noise that draws tokens, so an arm is the same on every machine and after a restart.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from pitboss.counted import noise_words
from pitboss.engine.interventions import Patches
from pitboss.engine.noise import uniform
from pitboss.engine.request import Patch
from pitboss.errors import BadInput
from pitboss.saes.loading import SaeLayer


class Firing(NamedTuple):
    """How the f features of a layer fire at decision points: `GroupSums.fired / n` and `.mean`.

    Attributes:
        rate: [f], share of decisions at which a feature fires.
        mean: [f], mean activation, zeros included.
    """

    rate: Tensor
    mean: Tensor


def random_direction(like: Tensor, *, seed: int, name: str) -> Tensor:
    """A direction drawn uniformly from the sphere of radius |like|: float32 [d_model].

    Raises:
        BadInput: `like` is not a non-zero vector.
    """
    if like.ndim != 1 or not like.any():
        raise BadInput("a random direction needs a non-zero vector [d_model] to be like")
    return _random_image(like.detach().double()[None], seed, name)[0].float()


def random_change(patches: Sequence[Patch], *, seed: int, name: str) -> Patches:
    """The same patches writing along random directions: the control whose change has equal norm.

    What is read (enc, gate, value) stays. At each layer the written directions are turned by one
    random isometry, so their norms and the angles between them stay, and with them the norm of the
    total change to any residual vector. It matches a patched token for token as long as the two
    texts agree. To remove a random axis instead, project out a `random_direction`.

    Raises:
        BadInput: A patch is not in mode `delta`.
    """
    if wrong := [p for p in patches if p.mode != "delta"]:
        raise BadInput(
            f"mode {wrong[0].mode!r} writes more than one direction",
            where=f"patch of feature {wrong[0].feature} at layer {wrong[0].layer}",
            next="use mode delta.",
        )
    turned: dict[int, Tensor] = {}
    for layer in {p.layer for p in patches}:
        at = [i for i, p in enumerate(patches) if p.layer == layer]
        dec = torch.stack([patches[i].dec.double() for i in at])
        image = _random_image(dec, seed, f"{name}/layer {layer}").float()
        turned |= dict(zip(at, image, strict=True))
    return tuple(replace(p, dec=turned[i]) for i, p in enumerate(patches))


def random_features(
    sae: SaeLayer,
    like: int,
    count: int = 1,
    *,
    seed: int,
    name: str,
    exclude: Sequence[int] = (),
    norm_tolerance: float = 0.1,
    firing: Firing | None = None,
    rate_tolerance: float = 0.05,
    mean_tolerance: float = 0.25,
) -> tuple[int, ...]:
    """Ids of `count` other features of the layer that write and fire about as much as one.

    Args:
        sae: The layer's SAE.
        like: The feature to be matched.
        exclude: Features that may not be drawn (the other selected ones, say).
        norm_tolerance: Largest relative difference of decoder norms.
        firing: Firing statistics, if these are to be matched as well.
        rate_tolerance: Largest absolute difference of firing rates.
        mean_tolerance: Largest relative difference of mean activations.

    Returns:
        Distinct ids in the order in which they are drawn; a larger count only appends.

    Raises:
        BadInput: `like` is no feature of the SAE, the statistics have another length, or fewer
            than `count` features match.
    """
    where = f"controls of feature {like} at layer {sae.layer}"
    norm = torch.linalg.vector_norm(sae.W_dec.double(), dim=1).cpu()
    if not 0 <= like < len(norm):
        raise BadInput(f"the SAE has features 0 to {len(norm) - 1}", where=where)
    match = (norm - norm[like]).abs() <= norm_tolerance * norm[like]
    if firing is not None:
        rate, mean = (torch.as_tensor(x).double().cpu() for x in firing)
        if rate.shape != norm.shape or mean.shape != norm.shape:
            raise BadInput(
                f"firing statistics of {tuple(rate.shape)} and {tuple(mean.shape)} features for an "
                f"SAE of {len(norm)}",
                where=where,
                next="use the statistics of this layer's SAE.",
            )
        match &= (rate - rate[like]).abs() <= rate_tolerance
        match &= (mean - mean[like]).abs() <= mean_tolerance * mean[like].abs()
    match[[like, *exclude]] = False
    ids = match.nonzero()[:, 0]
    if len(ids) < count:
        raise BadInput(
            f"{len(ids)} other features match in decoder norm"
            + ("" if firing is None else " and firing")
            + f", {count} are needed",
            where=where,
            next="widen the tolerances or ask for fewer controls.",
        )
    words = torch.tensor([noise_words(seed, f"control/{name}")])
    order = uniform(words, torch.zeros(1, dtype=torch.int64), ids[None])[0].argsort()
    return tuple(ids[order[:count]].tolist())


def _random_image(vectors: Tensor, seed: int, name: str) -> Tensor:
    """float64 [r, d]: the vectors [r, d] under a random isometry of their span into R^d.

    With the vectors = Rᵀ·Qᵀ (QR of their transpose) and V uniform among the orthonormal [d, r]
    matrices (QR of a Gaussian matrix with a positive diagonal), the image is Rᵀ·Vᵀ; inner products
    are those of the vectors.
    """
    r, d = vectors.shape
    if r > d:
        raise BadInput(f"{r} directions at one layer, the residual stream has {d} dimensions")
    upper = torch.linalg.qr(vectors.T).R
    basis, triangle = torch.linalg.qr(_gaussian(r, d, seed, name).T.to(vectors.device))
    return upper.T @ (basis * triangle.diagonal().sign()).T


def _gaussian(r: int, d: int, seed: int, name: str) -> Tensor:
    """Standard normal numbers, float64 [r, d], by Box and Muller from counted uniform ones."""
    words = torch.tensor([noise_words(seed, f"control/{name}")]).expand(r, 2)
    column = torch.arange(d).expand(r, d)
    first, second = (uniform(words, 2 * torch.arange(r) + i, column) for i in (0, 1))
    return torch.sqrt(-2 * first.log()) * torch.cos(2 * torch.pi * second)
