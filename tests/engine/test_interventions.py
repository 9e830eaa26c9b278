"""Interventions against the textbook formula in a plain hook: no cache, no batch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from pitboss.engine import Engine, EngineConfig, Generation, Patch, Request, Sampling
from pitboss.engine.interventions import (
    Patches,
    add_direction,
    coordinates,
    dose_ladder,
    median_norms,
    project_out,
    project_out_subspace,
    set_coordinate,
    set_subspace,
    together,
)
from pitboss.engine.request import Positions
from pitboss.errors import BadInput
from pitboss.models.loading import LoadedModel
from pitboss.saes.loading import SaeLayer

D, F = 64, 48
POSITIONS: tuple[Positions, ...] = ("prompt_last", "prompt_last_and_generated")
GREEDY = Sampling(temperature=0, max_new_tokens=10)
Prompts = list[tuple[int, ...]]
Textbook = dict[int, Callable[[torch.Tensor], torch.Tensor]]  # layer → residual [n, d] → [n, d]


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


ONE, TWO, THREE = (3 * _random(D, seed=n) for n in range(3))
BASIS = torch.stack([ONE, TWO, ONE - 0.3 * TWO + 0.1 * THREE, _random(D, seed=9)])


def _sae(layer: int) -> SaeLayer:
    """A random dictionary; the hooks below encode and decode with all of it."""
    return SaeLayer(
        layer=layer,
        kind="jumprelu",
        gate="sae_lens",
        W_enc=_random(D, F, seed=20 + layer) * 0.4,
        W_dec=_random(F, D, seed=40 + layer),
        b_dec=_random(D, seed=60 + layer) * 0.1,
        shift=_random(F, seed=80 + layer) * 0.1,
        scale=torch.ones(F),
        bias=torch.zeros(F),
        threshold=torch.full((F,), 0.2),
        source={},
    )


SAES = {layer: _sae(layer) for layer in (1, 2)}


def _feature(layer: int, feature: int, value: float, positions: Positions) -> Patch:
    sae = SAES[layer]
    gate = (float(column[feature]) for column in (sae.shift, sae.scale, sae.bias, sae.threshold))
    enc, dec = sae.W_enc[:, feature].contiguous(), sae.W_dec[feature]
    return Patch(layer, feature, enc, *gate, dec, value, positions=positions)


def _encode_set_decode(layer: int, values: dict[int, float]) -> Callable[..., torch.Tensor]:
    sae = SAES[layer]

    def change(x: torch.Tensor) -> torch.Tensor:
        pre = x @ sae.W_enc + sae.shift
        features = torch.where(pre > 0.2, pre, 0.0)
        error = x - (features @ sae.W_dec + sae.b_dec)
        for feature, value in values.items():
            features[:, feature] = value
        return features @ sae.W_dec + sae.b_dec + error

    return change


def _projector(basis: torch.Tensor) -> torch.Tensor:
    """Orthogonal projection [d, d] onto the rows' span, by the normal equations."""
    rows = basis.double()
    return (rows.T @ torch.linalg.solve(rows @ rows.T, rows)).float()


def arms_of(positions: Positions) -> dict[str, tuple[Patches, Textbook]]:
    """Name → what the engine is given, and the formula it stands for."""
    u = ONE / ONE.norm()
    donor = 4 * _random(D, seed=5)
    inside = _projector(BASIS)
    at = {"positions": positions}
    ladder = dose_ladder(2, ONE, 40.0, (-3, 2), positions=positions)
    features = [_feature(1, 3, 6.0, positions), _feature(1, 17, 0.0, positions)]
    mixed = together(
        features,
        _feature(2, 8, -4.0, positions),
        project_out(3, ONE, **at),
        add_direction(1, TWO, -0.4, unit=False, **at),
    )
    return {
        "add": (add_direction(1, ONE, 0.7, unit=False, **at), {1: lambda x: x + 0.7 * ONE}),
        "add unit": (add_direction(0, ONE, -9.0, unit=True, **at), {0: lambda x: x - 9.0 * u}),
        "dose -3": (ladder[-3], {2: lambda x: x - 3 * 0.03 * 40 * u}),
        "dose 2": (ladder[2], {2: lambda x: x + 2 * 0.03 * 40 * u}),
        "set coordinate": (
            set_coordinate(2, ONE, 5.0, **at),
            {2: lambda x: x + (5.0 - x @ u)[:, None] * u},
        ),
        "project out": (project_out(1, ONE, **at), {1: lambda x: x - (x @ u)[:, None] * u}),
        "out of subspace": (
            project_out_subspace(2, BASIS, **at),
            {2: lambda x: x - x @ inside},
        ),
        "donor in subspace": (
            set_subspace(0, BASIS, coordinates(BASIS, donor), **at),
            {0: lambda x: x + (donor - x) @ inside},
        ),
        "two features": (together(*features), {1: _encode_set_decode(1, {3: 6.0, 17: 0.0})}),
        "mixed": (
            mixed,
            {
                1: lambda x: _encode_set_decode(1, {3: 6.0, 17: 0.0})(x) - 0.4 * TWO,
                2: _encode_set_decode(2, {8: -4.0}),
                3: lambda x: x - (x @ u)[:, None] * u,
            },
        ),
    }


def reference_logits(
    loaded: LoadedModel,
    prompt: tuple[int, ...],
    tokens: tuple[int, ...],
    textbook: Textbook,
    positions: Positions,
) -> torch.Tensor:
    """Logits from the last prompt token on; one uncached forward over the whole text."""
    last = len(prompt) - 1
    end = None if positions == "prompt_last_and_generated" else last + 1

    def hook(layer: int) -> Callable[..., torch.Tensor]:
        def change(_: object, __: object, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[0, last:end] = textbook[layer](output[0, last:end])
            return output

        return change

    layers = loaded.model.model.layers
    handles = [layers[layer].register_forward_hook(hook(layer)) for layer in textbook]
    try:
        logits: torch.Tensor = loaded.model(torch.tensor([prompt + tokens])).logits
        return logits[0, last:]
    finally:
        for handle in handles:
            handle.remove()


def run(loaded: LoadedModel, requests: list[Request], **sizes: Any) -> dict[str, Generation]:
    defaults: dict[str, Any] = {
        "width": 16,
        "prompt_capacity": 70,
        "token_capacity": 10,
        "keep_logits": True,
        "patch_slots": 5,
        "prefixes": 3,
    }
    made = Engine(loaded, EngineConfig(**(defaults | sizes)), seed=1)
    return {g.key: g for g in made.run(requests)}


@pytest.mark.parametrize("positions", POSITIONS)
def test_every_intervention_is_its_textbook_formula_alone_and_beside_all_others(
    loaded: LoadedModel, prompts: Prompts, positions: Positions
) -> None:
    arms = arms_of(positions)
    requests = [
        Request(name, prompts[i % len(prompts)], name, GREEDY, patches)
        for i, (name, (patches, _)) in enumerate(arms.items())
    ]
    plain = [Request(f"plain {i}", prompts[i], "x", GREEDY) for i in range(len(prompts))]
    beside = run(loaded, [*requests, *plain])
    for i, one in enumerate(requests):
        g = beside[one.key]
        expected = reference_logits(loaded, one.prompt, g.tokens, arms[one.key][1], positions)
        assert g.logits is not None
        expected = expected[: len(g.logits)]
        assert float((g.logits - expected).abs().max() / expected.abs().max()) < 1e-5, one.key
        assert expected.argmax(-1).tolist()[: len(g.tokens)] == list(g.tokens)
        unpatched = beside[f"plain {i % len(prompts)}"].logits
        assert unpatched is not None
        assert float((g.logits[0] - unpatched[0]).abs().max()) > 1e-3, one.key
        if i % 3 == 0:
            alone = run(loaded, [one])[one.key]
            assert alone.tokens == g.tokens
            assert alone.logits is not None and torch.equal(alone.logits, g.logits)


def test_what_is_projected_out_is_gone_from_the_stream_and_what_is_set_is_there(
    loaded: LoadedModel, prompts: Prompts
) -> None:
    targets = torch.tensor([3.0, -2.0, 1.0, 0.5])
    arms = {
        "none": (),
        "one": project_out(1, ONE),
        "subspace": project_out_subspace(1, BASIS),
        "set": set_subspace(1, BASIS, targets),
    }
    once = Sampling(temperature=0, max_new_tokens=1)
    requests = [Request(k, prompts[0], k, once, p, capture=True) for k, p in arms.items()]
    out = run(loaded, requests, capture_layers=(0, 1))
    states = {k: g.states for k, g in out.items() if g.states is not None}
    size = float(states["none"][1].norm())
    assert float(coordinates(ONE[None], states["none"][1]).abs().max()) > 1e-2 * size
    assert float(coordinates(ONE[None], states["one"][1]).abs().max()) < 1e-6 * size
    assert float(coordinates(BASIS, states["subspace"][1]).abs().max()) < 1e-6 * size
    assert float((coordinates(BASIS, states["set"][1]) - targets).abs().max()) < 2e-6 * size
    for k in arms:  # the layer below is as it was; so is everything orthogonal to the subspace
        assert torch.equal(states[k][0], states["none"][0])
    outside = torch.eye(D) - _projector(BASIS)
    for k in ("subspace", "set"):
        difference = (states[k][1] - states["none"][1]) @ outside
        assert float(difference.norm()) < 2e-6 * size


def test_a_dose_of_nothing_changes_no_bit(loaded: LoadedModel, prompts: Prompts) -> None:
    zero = dose_ladder(1, ONE, 50.0)[0]
    requests = [Request(k, prompts[1], "x", GREEDY, p) for k, p in (("plain", ()), ("zero", zero))]
    out = run(loaded, requests)
    assert out["plain"].logits is not None and out["zero"].logits is not None
    assert torch.equal(out["plain"].logits, out["zero"].logits)


def test_the_order_of_patches_is_of_no_consequence(loaded: LoadedModel, prompts: Prompts) -> None:
    patches = arms_of("prompt_last_and_generated")["mixed"][0]
    requests = [
        Request("forward", prompts[0], "x", GREEDY, patches),
        Request("backward", prompts[0], "x", GREEDY, patches[::-1]),
    ]
    out = run(loaded, requests)
    one, other = out["forward"].logits, out["backward"].logits
    assert one is not None and other is not None
    assert float((one - other).abs().max() / one.abs().max()) < 1e-5


def test_median_norms_are_those_of_the_captured_streams(
    loaded: LoadedModel, prompts: Prompts
) -> None:
    once = Sampling(temperature=0, max_new_tokens=1)
    requests = [Request(f"{i}", p, "x", once, capture=True) for i, p in enumerate(prompts)]
    out = run(loaded, requests, capture_layers=(0, 2))
    norms = sorted(
        float(
            loaded.model(torch.tensor([p]), output_hidden_states=True)
            .hidden_states[3][0, -1]
            .norm()
        )
        for p in prompts
    )
    found = median_norms(g.states for g in out.values() if g.states is not None)
    assert found.shape == (2,)
    assert float(found[1]) == pytest.approx((norms[2] + norms[3]) / 2, rel=1e-5)


def test_what_is_not_well_defined_is_refused() -> None:
    with pytest.raises(BadInput, match="non-zero vector"):
        project_out(1, torch.zeros(D))
    with pytest.raises(BadInput, match="non-zero vector"):
        add_direction(1, torch.full((D,), torch.nan), 1.0, unit=False)
    with pytest.raises(BadInput, match="finite amount"):
        set_coordinate(1, ONE, float("inf"))
    with pytest.raises(BadInput, match="rank 2"):
        project_out_subspace(1, torch.stack([ONE, TWO, ONE - 2 * TWO]))
    with pytest.raises(BadInput, match="from 1 to d_model"):
        project_out_subspace(1, _random(D + 1, D, seed=0))
    with pytest.raises(BadInput, match="as many targets"):
        set_subspace(1, BASIS, [1.0])
    with pytest.raises(BadInput, match="no unit for doses"):
        dose_ladder(1, ONE, 0.0)
    with pytest.raises(BadInput, match="repeat a dose"):
        dose_ladder(1, ONE, 1.0, (1, 1.0))
    with pytest.raises(BadInput, match="one shape"):
        median_norms([])
    one = _feature(1, 3, 1.0, "prompt_last")
    with pytest.raises(BadInput, match="set twice"):
        together(one, _feature(1, 3, 2.0, "prompt_last"))
    with pytest.raises(BadInput, match="not orthogonal"):
        together(project_out(1, ONE), project_out(1, ONE + TWO))
    with pytest.raises(BadInput, match="patch_slots=2"):
        together(one, project_out(1, ONE), patch_slots=1)
    settings = {name: getattr(one, name) for name in one.__slots__}
    with pytest.raises(BadInput, match="cannot be combined"):
        together(Patch(**(settings | {"mode": "reconstruct"})))
    # What does not disturb each other may stand together.
    assert len(together(project_out(1, ONE), project_out(2, ONE + TWO), one)) == 3
    assert len(together(project_out(1, ONE), add_direction(1, ONE, 2.0, unit=True))) == 2
