"""Control arms: matched exactly, reproducible by name, and really random."""

import pytest
import torch

from pitboss.engine.controls import Firing, random_change, random_direction, random_features
from pitboss.engine.interventions import add_direction, project_out_subspace
from pitboss.engine.request import Patch
from pitboss.errors import BadInput
from pitboss.saes.loading import SaeLayer

D, F = 64, 200
LIKE = 2.5 * torch.randn(D, generator=torch.Generator().manual_seed(3))


def test_a_random_direction_has_the_norm_of_the_real_one_and_its_own_name() -> None:
    drawn = [random_direction(LIKE, seed=s, name=n) for s in (1, 2) for n in ("a", "b")]
    for one in drawn:
        assert float(one.double().norm()) == pytest.approx(float(LIKE.double().norm()), rel=1e-7)
    assert torch.equal(drawn[0], random_direction(LIKE, seed=1, name="a"))
    assert all(not torch.allclose(drawn[0], other) for other in drawn[1:])


def test_random_directions_are_the_same_on_every_machine() -> None:
    found = random_direction(torch.tensor([3.0, 0.0, 4.0]), seed=7, name="control/1")
    assert found.tolist() == pytest.approx([-0.7767476, 3.9768910, 2.9293344], abs=1e-6)


def test_random_directions_fill_the_sphere_evenly() -> None:
    many = torch.stack([random_direction(LIKE, seed=1, name=f"{i}") for i in range(2000)])
    unit = many / many.norm(dim=1, keepdim=True)
    cosine = unit @ (LIKE / LIKE.norm())
    assert abs(float(cosine.mean())) < 4 / (D * 2000) ** 0.5
    assert float(cosine.var()) == pytest.approx(1 / D, rel=0.15)
    covariance = unit.T @ unit / 2000
    assert float((covariance - torch.eye(D) / D).abs().max()) < 6 / (D * 2000**0.5)


def test_a_random_change_has_the_norm_of_the_real_one_at_every_residual_vector() -> None:
    basis = torch.randn(4, D, generator=torch.Generator().manual_seed(4))
    real = (
        *project_out_subspace(1, basis),
        *add_direction(1, LIKE, 1.7, unit=False),
        *add_direction(2, LIKE, -0.4, unit=False),
    )
    control = random_change(real, seed=1, name="x")
    x = torch.randn(20, D, generator=torch.Generator().manual_seed(5))

    def change(patches: tuple[Patch, ...], layer: int) -> torch.Tensor:
        parts = [
            ((p.value or 0.0) - x @ p.enc)[:, None] * p.dec for p in patches if p.layer == layer
        ]
        return torch.stack(parts).sum(0)

    for layer in (1, 2):
        one, other = change(real, layer), change(control, layer)
        assert torch.allclose(one.norm(dim=1), other.norm(dim=1), rtol=1e-5)
        assert not torch.allclose(one, other, rtol=0.1)
    again, elsewhere = random_change(real, seed=1, name="x"), random_change(real, seed=2, name="x")
    for a, b, c in zip(control, again, elsewhere, strict=True):
        assert torch.equal(a.dec, b.dec) and not torch.allclose(a.dec, c.dec)
        assert (a.layer, a.feature, a.value) == (c.layer, c.feature, c.value)


def _sae() -> SaeLayer:
    generator = torch.Generator().manual_seed(6)
    zero = torch.zeros(F)
    dec = torch.randn(F, D, generator=generator) * torch.linspace(0.5, 1.5, F)[:, None]
    enc = torch.randn(D, F, generator=generator)
    return SaeLayer(1, "standard", "relu", enc, dec, zero[:D], zero, zero + 1, zero, zero, {})


def test_random_features_match_in_norm_and_firing_and_are_other_features() -> None:
    sae = _sae()
    norm = sae.W_dec.norm(dim=1)
    generator = torch.Generator().manual_seed(8)
    firing = Firing(torch.rand(F, generator=generator), 3 * torch.rand(F, generator=generator))
    firing.mean[:40] = firing.mean[20] * torch.linspace(0.8, 1.2, 40)
    firing.rate[:40] = firing.rate[20] + torch.linspace(-0.04, 0.04, 40)
    close = random_features(sae, 20, 5, seed=1, name="a", firing=firing, norm_tolerance=0.3)
    assert len(set(close)) == 5 and 20 not in close
    for i in close:
        assert abs(norm[i] - norm[20]) <= 0.3 * norm[20]
        assert abs(firing.rate[i] - firing.rate[20]) <= 0.05
        assert abs(firing.mean[i] - firing.mean[20]) <= 0.25 * firing.mean[20]
    assert close == random_features(sae, 20, 5, seed=1, name="a", firing=firing, norm_tolerance=0.3)
    assert close[:2] == random_features(
        sae, 20, 2, seed=1, name="a", firing=firing, norm_tolerance=0.3
    )
    assert set(close) != set(random_features(sae, 20, 5, seed=2, name="a"))
    rest = random_features(sae, 20, 5, seed=1, name="a", exclude=close, norm_tolerance=0.3)
    assert not set(rest) & set(close)


def test_every_matching_feature_is_drawn_about_equally_often() -> None:
    sae = _sae()
    norm = sae.W_dec.norm(dim=1)
    match = ((norm - norm[100]).abs() <= 0.1 * norm[100]).nonzero()[:, 0].tolist()
    drawn = [random_features(sae, 100, seed=s, name="a")[0] for s in range(40 * len(match))]
    assert set(drawn) == set(match) - {100}
    counts = [drawn.count(i) for i in set(drawn)]
    assert min(counts) > 15 and max(counts) < 80


def test_controls_that_do_not_exist_are_refused() -> None:
    sae = _sae()
    sae.W_dec[0] *= 100
    with pytest.raises(BadInput, match="0 other features match in decoder norm, 1 are needed"):
        random_features(sae, 0, seed=1, name="a")
    with pytest.raises(BadInput, match="features 0 to 199"):
        random_features(sae, F, seed=1, name="a")
    with pytest.raises(BadInput, match="statistics of"):
        random_features(sae, 3, seed=1, name="a", firing=Firing(torch.ones(3), torch.ones(3)))
    with pytest.raises(BadInput, match="non-zero"):
        random_direction(torch.zeros(D), seed=1, name="a")
    (plain,) = add_direction(1, LIKE, 1.0, unit=True)
    settings = {name: getattr(plain, name) for name in plain.__slots__}
    whole = Patch(**(settings | {"mode": "reconstruct"}))
    with pytest.raises(BadInput, match="more than one direction"):
        random_change([whole], seed=1, name="a")
