"""Section `screening`: exact decisions for the plan's features, and for every feature there is.

One row a (feature, value, prompt): from the block above the patch upwards, against the prompt's
shared keys and values. Timed is what a study's unit does on the device and with its results on the
host: the features' own activations, the patched decisions, their log odds. Reading SAE files is
not part of it (a study reads the next layer's while this one is computed); the weights are random.
"""

import time
from dataclasses import replace
from typing import Any

import torch

from bench.clock import rounded, synchronise
from bench.guard import forget_peak, free, peak
from bench.saes import LAB, REAL, random_sae
from bench.settings import Settings
from bench.work import prompts_of
from pitboss.models.loading import LoadedModel

PER_LAYER, VALUES, PROMPTS = 300, 2, 2
"""As the plan has it: 300 features of each layer from the second on, two values, two prompts."""

# Token ids that stand for the two choices; any will do with random weights.
STAND_IN_CHOICES = {"bet": [11, 12], "stop": [13, 14]}


def screening(loaded: LoadedModel, settings: Settings) -> dict[str, Any]:
    """The plan's features over the whole vocabulary, then (`--whole`) all of them."""
    rows = PER_LAYER * VALUES * PROMPTS
    # The rows of one layer are one batch: whole 64s, no more than are needed.
    selected = min(settings.screen_width, -(-rows // 64) * 64)
    figures = {"selected": _screen(loaded, settings, PER_LAYER, selected, mass=True)}
    free()
    if settings.whole:
        features = REAL if loaded.spec.d_model > 1000 else LAB
        width = settings.screen_width
        figures["every_feature"] = _screen(loaded, settings, features, width, mass=False)
    return figures


def _screen(
    loaded: LoadedModel, settings: Settings, features: int, width: int, *, mass: bool
) -> dict[str, Any]:
    from pitboss.engine.screening import Screen

    options = {k: v for k, v in settings.engine.items() if k == "fast"}
    forget_peak(loaded.device)
    began = time.perf_counter()
    screen = Screen(
        loaded,
        width=width,
        prompts=prompts_of(loaded, PROMPTS, settings.prompt_tokens),
        choices=STAND_IN_CHOICES,
        mass=mass,
        **options,
    )
    built = time.perf_counter() - began
    layers = range(1, loaded.spec.n_layers)
    sae = random_sae(loaded, 1, features)
    generator = torch.Generator().manual_seed(4)
    values = torch.rand(VALUES, features, generator=generator).to(loaded.device)

    def one(layer: int) -> int:
        here = replace(sae, layer=layer)
        found = screen.run(layer, here.W_dec, screen.change(here, values))
        found.decisions.log_odds("stop", "bet")
        return int(found.unchanged.size)

    one(layers[-1])
    synchronise(loaded.device)
    began = time.perf_counter()
    decisions = sum(one(layer) for layer in layers)
    synchronise(loaded.device)
    seconds = time.perf_counter() - began
    return {
        "features": f"{len(layers)} layers x {features:,}",
        "decisions": decisions,
        "width": width,
        "whole_vocabulary": mass,
        "seconds": rounded(seconds),
        "decisions_per_second": rounded(decisions / seconds),
        "seconds_to_set_up": rounded(built),
        **peak(loaded.device),
    }
