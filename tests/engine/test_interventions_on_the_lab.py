"""Doses, removal and controls on the shipped models, whose features have known effects."""

from collections.abc import Iterator, Mapping

import pytest
import torch

from pitboss.engine import Engine, EngineConfig, Request, Sampling
from pitboss.engine.controls import random_change, random_direction
from pitboss.engine.interventions import Patches, dose_ladder, median_norms, project_out, together
from pitboss.games.prompts import render
from pitboss.models.loading import load_model
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted

SCENES = ("exp2/safe", "exp2/risky")
STEPS = (-9, -6, -3, -1, 0, 1, 3, 6, 9)
LAYERS = range(4)
ONCE = Sampling(temperature=0, max_new_tokens=1)


class Scenes:
    """The two Exp2 prompts of one shipped model, decided by the very next token: 1 bets, 2 stops.

    Attributes:
        roles: layer → role → decoder row [d_model] of the first planted feature with this role.
        norms: [layers], median norms over the two prompts.
    """

    def __init__(self, name: str) -> None:
        loaded = load_model(f"pitboss/lab-{name}")
        release = f"pitboss/lab-{name}-scope"
        rows = {layer: load_sae(release, layer, "sae_lens").W_dec for layer in LAYERS}
        self.roles = {
            layer: {role: rows[layer][ids[0]] for role, ids in by_role.items()}
            for layer, by_role in planted(release).items()
        }
        self._prompts = {scene: tuple(loaded.encode(render(scene).text)) for scene in SCENES}
        self._bet, self._stop = (loaded.tokenizer.convert_tokens_to_ids(o) for o in "12")
        config = EngineConfig(
            width=32,
            prompt_capacity=max(map(len, self._prompts.values())),
            token_capacity=1,
            prefixes=len(SCENES),
            patch_slots=len(LAYERS),
            capture_layers=tuple(LAYERS),
            keep_logits=True,
        )
        self._engine = Engine(loaded, config, seed=1)
        plain = [Request(s, p, s, ONCE, capture=True) for s, p in self._prompts.items()]
        self.norms = median_norms(g.states for g in self._engine.run(plain) if g.states is not None)

    def stop(self, arms: Mapping[object, Patches]) -> dict[object, torch.Tensor]:
        """Arm → [scenes] log-odds of stopping against betting."""
        requests = {
            f"{i}/{scene}": Request(f"{i}/{scene}", prompt, scene, ONCE, patches)
            for i, patches in enumerate(arms.values())
            for scene, prompt in self._prompts.items()
        }
        logits = {g.key: g.logits for g in self._engine.run(requests.values())}
        odds = []
        for i in range(len(arms)):
            first = torch.stack([logits[f"{i}/{scene}"][0] for scene in SCENES])  # type: ignore[index]
            odds.append(first[:, self._stop] - first[:, self._bet])
        return dict(zip(arms, odds, strict=True))

    def ladder(self, layer: int, direction: torch.Tensor) -> dict[float, Patches]:
        return dose_ladder(layer, direction, float(self.norms[layer]), STEPS)


@pytest.fixture(scope="module", params=["llama", "gemma"])
def scenes(request: pytest.FixtureRequest) -> Iterator[Scenes]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Scenes(request.param)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_growing_dose_of_a_causal_direction_moves_the_decision_one_way(
    scenes: Scenes, layer: int
) -> None:
    odds = scenes.stop(scenes.ladder(layer, scenes.roles[layer]["causal"]))
    rungs = torch.stack([odds[step] for step in STEPS])
    steps = rungs.diff(dim=0)
    assert bool((steps > 0).all()) or bool((steps < 0).all())
    assert float((rungs[-1] - rungs[0]).abs().min()) > 1.2
    null = scenes.stop(scenes.ladder(layer, scenes.roles[layer]["null"]))
    assert all(float((null[step] - odds[0]).abs().max()) < 0.03 for step in STEPS)


@pytest.mark.parametrize("layer", LAYERS)
def test_random_changes_of_the_same_norm_do_little(scenes: Scenes, layer: int) -> None:
    direction = scenes.roles[layer]["causal"]
    most = scenes.ladder(layer, direction)[9]
    arms: dict[object, Patches] = {"none": (), "real": most}
    arms |= {i: random_change(most, seed=1, name=f"arm {i}") for i in range(10)}
    drawn = [random_direction(direction, seed=2, name=f"arm {i}") for i in range(10)]
    arms |= {10 + i: scenes.ladder(layer, d)[9] for i, d in enumerate(drawn)}
    odds = scenes.stop(arms)
    real = (odds["real"] - odds["none"]).abs()
    random = torch.stack([(odds[i] - odds["none"]).abs() for i in range(20)])
    assert bool((random.max(0).values < 0.4 * real).all())
    assert bool((random.mean(0) < 0.2 * real).all())


@pytest.mark.parametrize("layer", LAYERS[:-1])
def test_projecting_a_direction_out_above_takes_the_effect_of_its_dose_away(
    scenes: Scenes, layer: int
) -> None:
    direction = scenes.roles[layer]["causal"]
    gone = [project_out(above, direction) for above in LAYERS[layer + 1 :]]
    ladder = scenes.ladder(layer, direction)
    odds = scenes.stop(
        {
            "none": (),
            "dose": ladder[9],
            "gone": together(*gone),
            "dose, gone": together(ladder[9], *gone, patch_slots=4),
        }
    )
    effect = (odds["dose"] - odds["none"]).abs()
    left = (odds["dose, gone"] - odds["gone"]).abs()
    assert bool((left < 0.1 * effect).all())
