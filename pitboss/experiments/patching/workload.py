"""How many runs a patching and its confirmation ask for, at most.

``TRIAL_BYTES`` 300: one run's keys and columns (its prompt is stored once).
"""

from typing import TYPE_CHECKING

from pitboss.experiments.patching.arms import Asked, asked
from pitboss.games.scenes import SHARED_PROMPTS
from pitboss.studies.workload import (
    TOKEN_BYTES,
    Shape,
    Shared,
    Workload,
    prompt_tokens,
    spread,
)

if TYPE_CHECKING:
    from pitboss.experiments.patching.confirmation import Confirmation
    from pitboss.experiments.patching.experiment import Patching

TRIAL_BYTES = 300


def patching_workload(patching: "Patching") -> Workload:
    """All features and controls, and the baseline."""
    settings, features, controls = patching.settings, patching.most(), control_runs(patching)
    runs = patched_runs(patching, features) + controls
    limit, states = settings.sampling.max_new_tokens, settings.states
    each = f"({len(settings.prompts)} prompts × {settings.trials} trials"
    each += ")" if states is None else f" + {states.count} states × {states.trials})"
    prompts = asked(settings)
    return Workload(
        patching.name,
        settings.kind,
        patching.model,
        len(prompts),
        runs,
        runs,
        runs * limit,
        runs * (TRIAL_BYTES + TOKEN_BYTES * limit),
        f"≤ {features:,} features × {len(settings.values)} values × {each}, the same once for the "
        f"baseline, and {controls:,} runs of controls; each ≤ {limit} tokens and {TRIAL_BYTES} + "
        f"{TOKEN_BYTES} × {limit} bytes",
        _shape(prompts, limit),
        _shared(patching, features, len(settings.values) * settings.runs_a_value),
    )


def confirmation_workload(confirmation: "Confirmation") -> Workload:
    """All features that are patched, as if each were found causal; shared are those expected."""
    patching, settings = confirmation.patching, confirmation.settings
    values, limit = len(patching.settings.values), patching.settings.sampling.max_new_tokens
    features, where = patching.most(), confirmation.everywhere()
    once = max(sum(len(one.trials) for one in prompts) for prompts in where.values())
    expected = round(features * patching.settings.statistics.assumed_share)
    runs = features * values * once
    return Workload(
        confirmation.name,
        settings.kind,
        patching.model,
        sum(map(len, where.values())),
        runs,
        runs,
        runs * limit,
        runs * (TRIAL_BYTES + TOKEN_BYTES * limit),
        f"the features found causal, at most {features:,} (the study assumes {expected:,}), "
        f"× {values} values × {once} runs; each ≤ {limit} tokens and {TRIAL_BYTES} + "
        f"{TOKEN_BYTES} × {limit} bytes",
        _shape([one for prompts in where.values() for one in prompts], limit),
        _shared(patching, expected, values * once),
    )


def patched_runs(patching: "Patching", features: int) -> int:
    """Runs of so many features, with the baseline drawn once per prompt."""
    once = patching.settings.runs_a_value
    return (features * len(patching.settings.values) + 1) * once


def planned_runs(patching: "Patching", features: int) -> int:
    """The same as the plan counts them: the baseline drawn again for every feature."""
    return features * (len(patching.settings.values) + 1) * patching.settings.runs_a_value


def control_runs(patching: "Patching") -> int:
    """Most runs of the controls."""
    settings, features = patching.settings, patching.most()
    wanted = settings.controls
    directions = wanted.random_directions if settings.mode == "delta" else 0
    random = wanted.random_features + min(directions, features)
    once = min(wanted.own_value, features)
    once += len(patching.selection.layers) if wanted.reconstruction else 0
    return (random * len(settings.values) + once) * settings.runs_a_value


def _shape(prompts: list[Asked], limit: int) -> Shape:
    longest = max(prompt_tokens(one.prompt.text) for one in prompts)
    return Shape(longest, limit, prefixes=min(len(prompts), SHARED_PROMPTS))


def _shared(patching: "Patching", features: int, runs: int) -> Shared:
    layers = spread(max(1, features), patching.selection.layers)
    return Shared(layers, runs, patching.settings.chunk)
