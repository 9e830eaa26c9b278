"""The SAEs of one lab model: games are played, dictionaries trained, features planted."""

from typing import Any

import torch

from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import render
from pitboss.models.catalogue import SaeRelease
from pitboss.models.loading import LoadedModel
from training.activations import Activations, Sequence, collect
from training.dictionary import Dictionary, DictionaryTraining, train_dictionary
from training.directions import SCENES, DecisionPoint
from training.export import (
    DECODER_NORM,
    export_llama_scope,
    export_sae_lens,
    llama_scope_factor,
)
from training.planted import PAIRS, Groups, Planted, plant
from training.player import Game, generate, outcomes, play

GAMES_PER_CONDITION, GAME_SEED = 12, 3
_SCENE_RESPONSES, _SCENE_TOKENS = 300, 24
_TRAINING_TEXTS = 1200


def build_saes(
    release: SaeRelease, loaded: LoadedModel, report: Any
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Builds and writes all layers of one release.

    Returns:
        What was measured, and the planted features of each layer.
    """
    games = play(loaded, list(ALL_CONDITIONS) * GAMES_PER_CONDITION, GAME_SEED)
    report(f"{release.id}: {len(games)} games, {outcomes(games)}")
    scenes = _scene_sequences(loaded)
    texts = _some_texts(games) + scenes
    acts = collect(loaded, texts)
    last = acts.tokens[:, acts.last]
    groups = _groups(loaded, games, scenes)
    points = {scene: DecisionPoint(loaded, scene) for scene in SCENES}
    dictionaries: dict[int, Dictionary] = {}
    measured: dict[str, Any] = {"games": _measured_games(games, loaded), "layers": {}}
    planted: dict[str, list[dict[str, Any]]] = {}
    for layer in release.layers:
        s = llama_scope_factor(release, layer) if release.release else 1.0
        trained = train_dictionary(
            acts.tokens[layer], last[layer], release.d_sae - 4 * PAIRS, DictionaryTraining()
        )
        mean_norm = float(torch.linalg.vector_norm(trained.W_dec, dim=1).mean())
        trained = trained.rescaled(mean_norm * s / DECODER_NORM)
        dictionary, features = plant(
            trained, layer, groups[layer], points, DECODER_NORM / s, seed=100 + layer
        )
        dictionaries[layer] = dictionary
        planted[str(layer)] = [feature.as_json() for feature in features]
        measured["layers"][str(layer)] = _measured_layer(trained, dictionary, acts, layer)
        report(f"{release.id} layer {layer}: {measured['layers'][str(layer)]} {_worst(features)}")
    _export(dictionaries, release)
    return measured, planted


def _export(dictionaries: dict[int, Dictionary], release: SaeRelease) -> None:
    assert release.local is not None
    if release.release:
        export_llama_scope(dictionaries, release, release.local)
    else:
        for layer, dictionary in dictionaries.items():
            export_sae_lens(dictionary, release, layer, release.local / release.sae_id_of(layer))


def _scene_sequences(loaded: LoadedModel) -> list[Sequence]:
    found = []
    for number, scene in enumerate(SCENES):
        prompt = loaded.encode(render(scene).text)
        torch.manual_seed(GAME_SEED + 1 + number)
        responses = generate(loaded, [prompt] * _SCENE_RESPONSES, _SCENE_TOKENS)
        found += [Sequence(prompt, response) for response in responses]
    return found


def _some_texts(games: list[Game]) -> list[Sequence]:
    """Decision points spread over all games."""
    every = [
        Sequence(prompt, response)
        for game in games
        for prompt, response in zip(game.prompts, game.responses, strict=True)
    ]
    step = max(1, len(every) // _TRAINING_TEXTS)
    return every[::step]


def _groups(loaded: LoadedModel, games: list[Game], scenes: list[Sequence]) -> list[Groups]:
    """Per layer the vectors that planting needs."""
    decisions, final, bankrupt = [], [], []
    for game in games:
        if game.outcome in ("bankruptcy", "voluntary_stop"):
            for number, prompt in enumerate(game.prompts):
                decisions.append(Sequence(prompt, []))
                final.append(number == len(game.prompts) - 1)
                bankrupt.append(game.outcome == "bankruptcy")
    states = collect(loaded, decisions, last_only=True).tokens
    is_final, is_bankrupt = torch.tensor(final), torch.tensor(bankrupt)
    responses = collect(loaded, scenes)
    return [
        Groups(
            safe_last=x[is_final & ~is_bankrupt],
            risky_last=x[is_final & is_bankrupt],
            safe_all=x[~is_bankrupt],
            risky_all=x[is_bankrupt],
            generated=g[responses.generated],
        )
        for x, g in zip(states, responses.tokens, strict=True)
    ]


def _measured_games(games: list[Game], loaded: LoadedModel) -> dict[str, Any]:
    responses = sum(len(g.responses) + g.invalid for g in games)
    return {
        "games": len(games),
        "seed": GAME_SEED,
        "outcomes": outcomes(games),
        "mean_rounds": round(sum(len(g.state.rounds) for g in games) / len(games), 2),
        "invalid_responses": round(sum(g.invalid for g in games) / responses, 4),
        "mean_response_tokens": round(
            sum(len(r) for g in games for r in g.responses)
            / max(1, sum(len(g.responses) for g in games)),
            1,
        ),
    }


def _measured_layer(
    trained: Dictionary, dictionary: Dictionary, acts: Activations, layer: int
) -> dict[str, Any]:
    """Unexplained variance with and without planted features, and how many features fire."""
    x = acts.tokens[layer]
    firing = dictionary.encode(x) > 0
    return {
        "fvu": round(dictionary.unexplained(x), 5),
        "fvu_without_planted": round(trained.unexplained(x), 5),
        "fvu_last_prompt_token": round(dictionary.unexplained(x[acts.last]), 5),
        "mean_active": round(float(firing.float().sum(1).mean()), 1),
        "dead": int((~firing.any(0)).sum()),
    }


def _worst(planted: list[Planted]) -> str:
    """One line for the log: the weakest causal and the strongest null feature."""
    spread = {
        role: [
            abs(p.p_stop[scene]["safe"] - p.p_stop[scene]["risky"])
            for p in planted
            if p.role == role
            for scene in SCENES
        ]
        for role in ("causal", "null")
    }
    weakest_d = min(abs(p.d) for p in planted)
    return (
        f"causal dP >= {min(spread['causal']):.3f}, null dP <= {max(spread['null']):.3f}, "
        f"|d| >= {weakest_d:.2f}, fires >= {min(p.active for p in planted):.2f}"
    )
