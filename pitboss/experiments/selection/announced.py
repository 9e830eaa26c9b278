"""What is said of a selection before anything starts: how much there is, and what differs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pitboss.models.catalogue import sae_release
from pitboss.studies.reference import LLAMA, LLAMA_SCOPE, SELECTION, SIGNIFICANT_FEATURES
from pitboss.studies.workload import (
    STATISTIC_BYTES,
    Shape,
    Workload,
    longest_game_prompt,
    prompt_tokens,
)

if TYPE_CHECKING:
    from pitboss.experiments.selection.experiment import Selection


def workload(selection: "Selection") -> Workload:
    """Every feature of every layer is tested; of an imported table, only the rules are applied."""
    width = sae_release(selection.sae).d_sae
    vectors = 2 * selection.study.spec(selection.model).d_model * 4
    layers, per_layer = len(selection.layers), selection.settings.per_layer
    kept = f"at most {per_layer} per layer kept with encoder and decoder vectors of {vectors:,} "
    if selection.games is None:
        conditions, runs, prompt = 0, selection.most(), 1
        size, formula = runs * vectors, f"features of an imported table; {kept}bytes"
    else:
        played = selection.games.settings
        conditions, runs = len(played.resolved_conditions), layers * width
        prompt = prompt_tokens(longest_game_prompt(played.prompt))
        size = runs * STATISTIC_BYTES + layers * per_layer * vectors
        formula = f"{layers} layers × {width:,} features × {STATISTIC_BYTES} bytes; {kept}bytes"
    return Workload(
        selection.name,
        selection.settings.kind,
        selection.model,
        conditions,
        runs,
        0,
        0,
        size,
        formula,
        Shape(prompt, 1, captured=0 if selection.games is None else layers, saes=1),
    )


def notes(selection: "Selection") -> Iterator[str]:
    """How the groups are compared, and how many features can be patched."""
    yield from _comparison(selection)
    if any(
        getattr(reader.settings, "bank", None) == selection.name
        for reader in selection.plan.readers_of(selection.name)
    ):
        yield from _features(selection)


def _comparison(selection: "Selection") -> Iterator[str]:
    chosen = selection.settings
    if chosen.imported is not None or (chosen.adjust, chosen.count) == ("none", "decisions"):
        return
    once = "each distinct prompt once" if chosen.count == "states" else "every decision"
    held = {
        "none": "as they are",
        "covariates": f"at equal {', '.join(chosen.covariates)} (by regression)",
        "matched": "at exactly equal balance and round",
    }[chosen.adjust]
    yield (
        f"Bankrupt and stopped games are compared {held}, {once}; the original study compared all "
        f"games as they were ({selection.name}.adjust: none, count: decisions), so that every "
        "feature of the balance counted. Fewer may pass now; both numbers are stored."
    )


def _features(selection: "Selection") -> Iterator[str]:
    settings, features = selection.settings, selection.most()
    expected = reachable(selection)
    if expected is None:
        yield (
            f"At most {features:,} features can be patched; fewer are where fewer than "
            f"{settings.per_layer} of a layer pass the selection."
        )
        return
    known = _known(selection)
    planned = len(known) * settings.per_layer
    if expected == planned:
        return
    short = [(x, n) for x, n in known.items() if n < settings.per_layer]
    counts = ", ".join(f"{n} in layer {x}" for x, n in short)
    yield (
        f"{len(known)} layers × {settings.per_layer} = {planned:,} features cannot be met: with "
        "SAE features at the blocks' outputs the original study found only "
        f"{counts}, so {expected:,}, not {planned:,}, are expected. {planned:,} were only "
        "reached by taking raw hidden dimensions for SAE features. This study's own games "
        "decide the final number."
    )


def reachable(selection: "Selection") -> int | None:
    """Features to be expected from what the original found; None where it says nothing."""
    settings, model = selection.settings, selection.study.models[selection.model]
    as_original = (settings.min_abs_d, settings.max_p, settings.fdr) == SELECTION
    if (model.id, model.sae) != (LLAMA, LLAMA_SCOPE) or not as_original:
        return None
    return sum(min(settings.per_layer, count) for count in _known(selection).values())


def _known(selection: "Selection") -> dict[int, int]:
    """Features that passed in the original, by layer."""
    return {x: SIGNIFICANT_FEATURES[x] for x in selection.layers if x in SIGNIFICANT_FEATURES}
