"""Sentences that tell a person what a study cannot meet of its plan, and why."""

from collections.abc import Iterator

from pitboss.models.catalogue import pairing_warnings
from pitboss.studies.model import Study
from pitboss.studies.reference import (
    LLAMA,
    LLAMA_SCOPE,
    LONGEST_REASONING,
    PLAYED,
    SELECTION,
    SIGNIFICANT_FEATURES,
)
from pitboss.studies.workload import control_runs, patching_runs


def notes(study: Study, features: int) -> list[str]:
    """All sentences that apply to this study; ``features`` is the most it can patch."""
    return [
        *_models(study),
        *_widths(study),
        *_memory(study),
        *_quality(study),
        *_games(study),
        *_comparison(study),
        *_features(study, features),
        *_pathway(study),
        *_screening(study, features),
        *_patching(study, features),
        *_words(study),
        *_persistent(study),
    ]


def _models(study: Study) -> Iterator[str]:
    for alias, choice in study.models.items():
        for warning in (*study.spec(alias).warnings, *pairing_warnings(choice.id, choice.sae)):
            yield f"{alias}: {warning}"


def _widths(study: Study) -> Iterator[str]:
    engine = study.engine
    if engine.games_width not in (None, engine.width):
        yield (
            f"Matrix products have {engine.games_width:,} rows in games, pathway and features, "
            f"{engine.width:,} elsewhere; the last bits of a result depend on that number."
        )


def _memory(study: Study) -> Iterator[str]:
    reserve, most = study.engine.reserve_gb, study.engine.memory_gb
    cap = "" if most is None else f" A process holds at most {most:g} GB."
    if reserve is None:
        yield f"Nobody watches what others need of a GPU's memory while this runs.{cap}"
    else:
        yield (
            f"{reserve:g} GB of each GPU are left to others: when less is free, fewer rows run at "
            f"once, then none until there is room. Results do not depend on it.{cap}"
        )


def _quality(study: Study) -> Iterator[str]:
    limits = study.quality
    if limits is None:
        yield "No experiment is stopped for its responses, however few state a decision."
        return
    yield (
        f"An experiment stops if, of its first {limits.after:,} responses or of all, fewer than "
        f"{limits.readable:.0%} state a decision or more than {limits.cut_off:.0%} are cut off at "
        "the token limit before one (study file, quality). Of patched experiments the unpatched "
        "runs are judged: what a patch does to responses is a finding."
    )


def _games(study: Study) -> Iterator[str]:
    games = study.games
    yield (
        f"The plan asks again without end; here a decision is asked at most {games.retries} more "
        "times, then the game is aborted and counted as aborted, never as a stop."
    )
    for alias in games.models:
        limit = games.sampling_for(alias).max_new_tokens
        if study.spec(alias).chat_template and limit < LONGEST_REASONING:
            yield (
                f"{alias}: {limit} tokens may cut responses off before their decision; reasoning "
                f"of up to {LONGEST_REASONING} tokens was seen from Gemma-2-9b-it."
            )
    if games.reader != "menu":
        yield (
            f"The games are read by {games.reader}, which finds keywords anywhere and makes up "
            "decisions; their numbers reproduce the original's, they do not correct it."
        )


def _comparison(study: Study) -> Iterator[str]:
    chosen = study.features
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
        "games as they were (features.adjust: none, count: decisions), so that every feature of "
        "the balance counted. Fewer may pass now; both numbers are stored."
    )


def _features(study: Study, features: int) -> Iterator[str]:
    chosen, model = study.features, study.models[study.patching.model]
    if study.patching.confirm is not None:
        return  # how many can be patched is said of the screening
    as_original = (chosen.min_abs_d, chosen.max_p, chosen.fdr) == SELECTION
    if (model.id, model.sae) != (LLAMA, LLAMA_SCOPE) or not as_original:
        yield (
            f"At most {features:,} features can be patched; fewer are where fewer than "
            f"{chosen.per_layer} of a layer pass the selection."
        )
        return
    known = {x: SIGNIFICANT_FEATURES[x] for x in chosen.layers if x in SIGNIFICANT_FEATURES}
    reachable = sum(min(chosen.per_layer, count) for count in known.values())
    planned = len(known) * chosen.per_layer
    if reachable == planned:
        return
    short = [(x, n) for x, n in known.items() if n < chosen.per_layer]
    counts = ", ".join(f"{n} in layer {x}" for x, n in short)
    yield (
        f"{len(known)} layers × {chosen.per_layer} = {planned:,} features cannot be met: with SAE "
        "features at the blocks' outputs the original study found only "
        f"{counts}, so {reachable:,}, not {planned:,}, are expected. {planned:,} were only "
        "reached by taking raw hidden dimensions for SAE features. This study's own games "
        "decide the final number."
    )
    runs, plan_runs = patching_runs(study, reachable)
    yield f"With {reachable:,} features: {runs:,} runs (counted as in the plan: {plan_runs:,})."


def _pathway(study: Study) -> Iterator[str]:
    pathway = study.pathway
    yield (
        f"The quota of {pathway.bankruptcies} bankruptcies and {pathway.stops} stops is met by "
        f"playing until both are in, for at most {pathway.max_games:,} games; a shortfall is "
        "reported, never filled up."
    )
    played = PLAYED.get(study.models[pathway.model].id)
    if played is None:
        return
    rates = [
        played.bankrupt_fixed if c.bet_type == "fixed" else played.bankrupt_variable
        for c in pathway.resolved_conditions
    ]
    rate = sum(rates) / len(rates)
    yield (
        f"{pathway.model} went bankrupt in {rate:.2%} of the original's games in these conditions "
        f"(as its keyword reader counted), so {pathway.bankruptcies} bankruptcies take about "
        f"{pathway.bankruptcies / rate:,.0f} games, not the "
        f"{pathway.bankruptcies + pathway.stops} of the plan."
    )


def _screening(study: Study, features: int) -> Iterator[str]:
    if study.screening is None:
        return
    yield (
        "Screening computes what the first token decides, which is where the scenes' decisions are "
        "made; what a patch does to the tokens after it is for the sampled runs to show."
    )
    if study.patching.confirm is not None:
        yield (
            f"Screening chooses which features are patched: the {features:,} that lead its ranking "
            f"by {study.screening.rank_by}. They are chosen by the effect that is then tested, so "
            "the share found causal says nothing of the features that are not patched."
        )


def _patching(study: Study, features: int) -> Iterator[str]:
    patching = study.patching
    runs, plan_runs = patching_runs(study, features)
    yield (
        f"The plan's way of counting, with the baseline drawn again for each of {features:,} "
        f"features, gives {plan_runs:,} runs; the baseline is drawn once per prompt and shared, "
        f"so {runs:,} are enough."
    )
    yield from _controls(study, features)
    yield from _states(study)
    if "exp2/risky" in patching.prompts:
        yield (
            "Prompt exp2/risky offers $5-$100 on a balance of $20, and both scenes begin with a "
            "round that cannot add up (100 - 10 + 30 is 120, not 130); they are kept letter for "
            "letter. They differ in bet type, balance and history at once, so effects are "
            "compared within a scene, safe value against risky value."
        )
    if patching.mode == "reconstruct":
        yield (
            "Mode reconstruct also drops what the SAE cannot express, while the baseline keeps "
            "it: compare safe with risky values only, or run reconstruct_only as the control."
        )


def _controls(study: Study, features: int) -> Iterator[str]:
    wanted, delta = study.patching.controls, study.patching.mode == "delta"
    kinds = [
        (wanted.random_features, "random features"),
        (min(wanted.random_directions, features) * delta, "random directions"),
        (min(wanted.own_value, features), "features set to their own value"),
        (len(study.features.layers) * wanted.reconstruction, "reconstructions"),
    ]
    named = ", ".join(f"{count:,} {kind}" for count, kind in kinds if count)
    if named:
        yield (
            f"{control_runs(study, features):,} runs are controls: {named}, as far as there are so "
            "many. They are tested as the features are, and how many of them would have been "
            "counted stands beside every count."
        )
    if not wanted.random_features and not (wanted.random_directions and delta):
        yield "Without random controls nothing says how many features chance would have counted."
    if wanted.random_directions and not delta:
        yield f"A random direction is a change by itself, so mode {study.patching.mode} has none."


def _states(study: Study) -> Iterator[str]:
    patching = study.patching
    states, again = patching.states, patching.confirmation
    if states is None:
        yield (
            "Each scene is one state of one game; what is found there holds for that state, and no "
            "test says more. Generated states (patching.states) ask in many."
        )
    if patching.sequential is not None:
        looks = ", ".join(map(str, patching.sequential.looks))
        yield (
            f"Features are looked at after {looks} trials, and those of which enough is known are "
            "not run to the end, so there are fewer runs than counted here. Only stopping, safe "
            "against risky value, is tested; nothing else has a p."
        )
    if again is None:
        yield "What is found is not asked again: patching.confirmation would do that."
    elif states is None or not states.held_out:
        yield (
            "What is found causal is asked again with noise that was not used before; there are no "
            "new states to ask in."
        )
    else:
        yield (
            "What is found causal is asked again with noise that was not used before, and where it "
            f"was found in generated states, in {states.held_out} that were not among them."
        )


def _words(study: Study) -> Iterator[str]:
    if not study.patching.full_response:
        yield (
            "Responses end as soon as their decision is certain, so hardly any words are left to "
            "count; set patching.full_response to true for the word analysis."
        )
    yield (
        "The plan names 441 causal features, which were chosen by the sign of two differences "
        "without a test; here the features found causal by this study's own tests are taken."
    )
    describe = study.words.describe
    if describe is not None and describe.url is not None:
        yield (
            f"Top tokens and contexts of the causal features, which quote prompts and responses, "
            f"are sent to {describe.url}, whose model {describe.model} describes them."
        )


def _persistent(study: Study) -> Iterator[str]:
    settings = study.persistent
    if settings is None:
        return
    yield (
        f"The games without a patch are played once for all features ({settings.games_per_arm:,} "
        "games), not again for each; a game has the same luck and noise in every arm. Bankrupt "
        "means a balance of $0, as everywhere here; the original's Exp5 counted less than $5."
    )
    if not settings.controls:
        yield (
            "Exp5 runs without controls: whether its effects are those of the features, or those "
            "of any change of their size, cannot be told."
        )
