"""What a person should know of a patching before it starts, and what it cannot meet."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pitboss.experiments.patching.workload import control_runs, patched_runs, planned_runs
from pitboss.experiments.selection.announced import reachable

if TYPE_CHECKING:
    from pitboss.experiments.patching.confirmation import Confirmation
    from pitboss.experiments.patching.experiment import Patching


def patching_notes(patching: "Patching") -> Iterator[str]:
    """Runs against the plan's, controls, states, and what the scenes and the mode are like."""
    settings, features = patching.settings, patching.most()
    yield from _expected(patching)
    yield (
        f"The plan's way of counting, with the baseline drawn again for each of {features:,} "
        f"features, gives {planned_runs(patching, features):,} runs; the baseline is drawn once "
        f"per prompt and shared, so {patched_runs(patching, features):,} are enough."
    )
    yield from _controls(patching)
    yield from _states(patching)
    if "exp2/risky" in settings.prompts:
        yield (
            "Prompt exp2/risky offers $5-$100 on a balance of $20, and both scenes begin with a "
            "round that cannot add up (100 - 10 + 30 is 120, not 130); they are kept letter for "
            "letter. They differ in bet type, balance and history at once, so effects are "
            "compared within a scene, safe value against risky value."
        )
    if settings.mode == "reconstruct":
        yield (
            "Mode reconstruct also drops what the SAE cannot express, while the baseline keeps "
            "it: compare safe with risky values only, or run reconstruct_only as the control."
        )


def confirmation_notes(confirmation: "Confirmation") -> Iterator[str]:
    """Where what is found is asked again."""
    states = confirmation.patching.settings.states
    if states is None or not states.held_out:
        yield (
            "What is found causal is asked again with noise that was not used before; there are no "
            "new states to ask in."
        )
    else:
        yield (
            "What is found causal is asked again with noise that was not used before, and where it "
            f"was found in generated states, in {states.held_out} that were not among them."
        )


def _expected(patching: "Patching") -> Iterator[str]:
    expected = None if patching.settings.confirm is not None else reachable(patching.selection)
    if expected is not None and expected < patching.most():
        yield (
            f"With {expected:,} features: {patched_runs(patching, expected):,} runs (counted as in "
            f"the plan: {planned_runs(patching, expected):,})."
        )


def _controls(patching: "Patching") -> Iterator[str]:
    settings, features = patching.settings, patching.most()
    wanted, delta = settings.controls, settings.mode == "delta"
    kinds = [
        (wanted.random_features, "random features"),
        (min(wanted.random_directions, features) * delta, "random directions"),
        (min(wanted.own_value, features), "features set to their own value"),
        (len(patching.selection.layers) * wanted.reconstruction, "reconstructions"),
    ]
    said = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    if said:
        yield (
            f"{control_runs(patching):,} runs are controls: {said}, as far as there are so many. "
            "They are tested as the features are, and how many of them would have been counted "
            "stands beside every count."
        )
    if not wanted.random_features and not (wanted.random_directions and delta):
        yield "Without random controls nothing says how many features chance would have counted."
    if wanted.random_directions and not delta:
        yield f"A random direction is a change by itself, so mode {settings.mode} has none."


def _states(patching: "Patching") -> Iterator[str]:
    settings = patching.settings
    if settings.states is None:
        yield (
            "Each scene is one state of one game; what is found there holds for that state, and no "
            f"test says more. Generated states ({patching.name}.states) ask in many."
        )
    if settings.sequential is not None:
        ends = ", ".join(map(str, settings.sequential.looks))
        yield (
            f"Interim analyses are made after {ends} trials, and features of which enough is known "
            "are not run to the end, so there are fewer runs than counted here. Only stopping, "
            "safe against risky value, is tested; nothing else has a p."
        )
    if patching.confirmation is None:
        yield (
            f"What {patching.name} finds is not asked again: an experiment of kind confirmation "
            "would do that."
        )
