"""How much a study asks for: runs, tokens and bytes of each experiment, as upper bounds.

Byte counts are of the uncompressed rows; the stored files are smaller. Their constants:

* ``TOKEN_BYTES`` 4: an English token is about four characters.
* ``DECISION_BYTES`` 1,500: one game decision's prompt text, keys and columns.
* ``TRIAL_BYTES`` 300: one patching trial's keys and columns (its prompt is stored once).
* ``SCREENED_BYTES`` 140: one screened decision's names and numbers.
* ``STATISTIC_BYTES`` 100: one feature's row of group means, tests and flags.
* ``ACTIVE_FEATURES`` 100 per layer and decision, at ``ACTIVATION_BYTES`` 16 each: Llama Scope
  was trained for 50 active features, Gemma Scope's canonical SAEs for about 100.
"""

from typing import NamedTuple

from pitboss.models.catalogue import sae_release
from pitboss.studies.model import Study

TOKEN_BYTES = 4
DECISION_BYTES = 1_500
TRIAL_BYTES = 300
SCREENED_BYTES = 140
STATISTIC_BYTES = 100
ACTIVE_FEATURES = 100
ACTIVATION_BYTES = 16


class Work(NamedTuple):
    """One experiment with one model.

    Args:
        experiment: ``games``, ``features``, ``pathway``, ``screening``, ``patching``, ``words``
            or ``persistent``.
        model: The study's name for the model.
        conditions: Prompt conditions or scenes.
        runs: Games, screened decisions, patched and baseline trials, or features; what the
            experiment counts.
        responses: Most responses that can be generated, all rounds and retries included.
        tokens: Most tokens that can be generated.
        bytes: Most bytes written, uncompressed.
        formula: How these numbers come about.
    """

    experiment: str
    model: str
    conditions: int
    runs: int
    responses: int
    tokens: int
    bytes: int
    formula: str


def workload(study: Study, included: int = 0) -> list[Work]:
    """Every experiment of a study, in the order in which they run.

    Args:
        study: The validated study.
        included: Features patched besides the selected ones.
    """
    return [
        *(_games(study, alias) for alias in study.games.models),
        *(_features(study, alias) for alias in study.features.models),
        _pathway(study),
        *_screening(study, included),
        _patching(study, included),
        _words(study, included),
        *_persistent(study, included),
    ]


def selected_features(study: Study, included: int = 0) -> int:
    """Most features that the study can select: ``per_layer`` in every layer, plus the included."""
    return len(study.features.layers) * study.features.per_layer + included


def screened_features(study: Study, included: int = 0) -> int:
    """Most features that the study screens; 0 without a screening."""
    if study.screening is None:
        return 0
    if study.screening.features == "selected":
        return selected_features(study, included)
    return len(study.features.layers) * sae_release(study.models[study.screening.model].sae).d_sae


def patched_features(study: Study, included: int = 0) -> int:
    """Most features that the study can patch: the selected ones, or as many as are confirmed."""
    if study.patching.confirm is None:
        return selected_features(study, included)
    return min(study.patching.confirm, screened_features(study, included))


def runs_a_value(study: Study) -> int:
    """Runs of one feature under one value: all prompts and states, all trials."""
    patching = study.patching
    states = patching.states
    return len(patching.prompts) * patching.trials + (
        states.count * states.trials if states is not None else 0
    )


def patching_runs(study: Study, features: int) -> tuple[int, int]:
    """(runs with the baseline drawn once per prompt, runs with it redrawn for every feature)."""
    once = runs_a_value(study)
    patched = features * len(study.patching.values) * once
    return patched + once, patched + features * once


def control_runs(study: Study, features: int) -> int:
    """Most runs of the controls beside so many patched features."""
    patching, wanted = study.patching, study.patching.controls
    directions = wanted.random_directions if patching.mode == "delta" else 0
    random = wanted.random_features + min(directions, features)
    once = min(wanted.own_value, features)
    once += len(study.features.layers) if wanted.reconstruction else 0
    return (random * len(patching.values) + once) * runs_a_value(study)


def confirmation_runs(study: Study, features: int) -> int:
    """Most runs of the confirmation, if all of so many patched features were found causal."""
    patching, again = study.patching, study.patching.confirmation
    if again is None:
        return 0
    states = patching.states
    held_out = states.held_out * again.state_trials if states is not None else 0
    return features * len(patching.values) * max(again.trials, held_out)


def _decisions(games: int, rounds: int, retries: int, limit: int) -> tuple[int, int, int]:
    """Most responses, tokens and bytes of ``games`` games."""
    responses = games * rounds * (1 + retries)
    return responses, responses * limit, responses * (DECISION_BYTES + TOKEN_BYTES * limit)


def _games(study: Study, alias: str) -> Work:
    games = study.games
    conditions = len(games.resolved_conditions)
    limit = games.sampling_for(alias).max_new_tokens
    runs = conditions * games.repetitions
    most = _decisions(runs, games.max_rounds, games.retries, limit)
    return Work(
        "games",
        alias,
        conditions,
        runs,
        *most,
        f"{conditions} conditions × {games.repetitions} games; responses ≤ games × "
        f"{games.max_rounds} rounds × (1 + {games.retries} retries), each ≤ {limit} tokens and "
        f"{DECISION_BYTES} + {TOKEN_BYTES} × {limit} bytes",
    )


def _features(study: Study, alias: str) -> Work:
    width = sae_release(study.models[alias].sae).d_sae
    vectors = 2 * study.spec(alias).d_model * 4
    layers, per_layer = len(study.features.layers), study.features.per_layer
    runs = layers * width
    return Work(
        "features",
        alias,
        len(study.games.resolved_conditions),
        runs,
        0,
        0,
        runs * STATISTIC_BYTES + layers * per_layer * vectors,
        f"{layers} layers × {width:,} features × {STATISTIC_BYTES} bytes; at most {per_layer} per "
        f"layer kept with encoder and decoder vectors of {vectors:,} bytes",
    )


def _pathway(study: Study) -> Work:
    pathway = study.pathway
    limit = pathway.sampling.max_new_tokens
    responses, tokens, size = _decisions(
        pathway.max_games, pathway.max_rounds, pathway.retries, limit
    )
    kept = (pathway.bankruptcies + pathway.stops) * pathway.max_rounds * len(pathway.layers)
    return Work(
        "pathway",
        pathway.model,
        len(pathway.resolved_conditions),
        pathway.max_games,
        responses,
        tokens,
        size + kept * ACTIVE_FEATURES * ACTIVATION_BYTES,
        f"games until {pathway.bankruptcies} bankruptcies and {pathway.stops} stops, at most "
        f"{pathway.max_games}; decisions as in games (≤ {limit} tokens); activations "
        f"{pathway.bankruptcies + pathway.stops} games × {pathway.max_rounds} rounds × "
        f"{len(pathway.layers)} layers × {ACTIVE_FEATURES} active × {ACTIVATION_BYTES} bytes",
    )


def _screening(study: Study, included: int) -> list[Work]:
    screening = study.screening
    if screening is None:
        return []
    features = screened_features(study, included)
    values, prompts = len(screening.values), len(screening.prompts)
    runs = features * values * prompts
    most = "" if screening.features == "all" else "≤ "
    return [
        Work(
            "screening",
            screening.model,
            prompts,
            runs,
            0,
            0,
            runs * SCREENED_BYTES,
            f"{most}{features:,} features × {values} values × {prompts} prompts, one token each, "
            f"and {SCREENED_BYTES} bytes; generates nothing",
        )
    ]


def _patching(study: Study, included: int) -> Work:
    patching = study.patching
    features = patched_features(study, included)
    controls = control_runs(study, features)
    runs = patching_runs(study, features)[0] + controls
    limit = patching.sampling.max_new_tokens
    states = patching.states
    each = f"({len(patching.prompts)} prompts × {patching.trials} trials"
    each += ")" if states is None else f" + {states.count} states × {states.trials})"
    return Work(
        "patching",
        patching.model,
        len(patching.prompts) + (states.count if states is not None else 0),
        runs,
        runs,
        runs * limit,
        runs * (TRIAL_BYTES + TOKEN_BYTES * limit),
        f"≤ {features:,} features × {len(patching.values)} values × {each}, the same once for the "
        f"baseline, and {controls:,} runs of controls; each ≤ {limit} tokens and {TRIAL_BYTES} + "
        f"{TOKEN_BYTES} × {limit} bytes",
    )


def _words(study: Study, included: int) -> Work:
    features = patched_features(study, included)
    top = study.words.top_tokens
    return Work(
        "words",
        study.words.model,
        len(study.patching.prompts),
        features,
        0,
        0,
        features * top * STATISTIC_BYTES,
        f"the features found causal, at most {features:,}, × {top} tokens × {STATISTIC_BYTES} "
        "bytes; generates nothing",
    )


def _persistent(study: Study, included: int) -> list[Work]:
    settings = study.persistent
    if settings is None:
        return []
    features, arms = persistent_arms(study, included)
    games, limit = settings.games_per_arm, settings.sampling.max_new_tokens
    runs = arms * games
    most = _decisions(runs, settings.max_rounds, settings.retries, limit)
    values, conditions = len(settings.values), len(settings.resolved_conditions)
    return [
        Work(
            "persistent",
            settings.model,
            conditions,
            runs,
            *most,
            f"≤ {features:,} features and {min(settings.controls, features):,} controls × {values} "
            f"values + 1 baseline = {arms:,} arms × {games:,} games ({conditions} conditions × "
            f"{settings.repetitions}); decisions as in games (≤ {limit} tokens)",
        )
    ]


def persistent_arms(study: Study, included: int) -> tuple[int, int]:
    """(most features that are held through games, arms with controls and the one baseline)."""
    settings = study.persistent
    if settings is None:
        return 0, 0
    if isinstance(settings.features, dict):
        features = sum(len(ids) for ids in settings.features.values())
    else:
        features = min(settings.most, patched_features(study, included))
    return features, (features + min(settings.controls, features)) * len(settings.values) + 1
