"""The end of a study: every count compared, final files written, the outcome in one JSON file."""

from collections.abc import Callable
from typing import Any

from pitboss.analysis.effects import CONTRASTS, causal_features
from pitboss.analysis.outcomes import OUTCOMES, ROLES
from pitboss.experiments.clamped_games import effects as held
from pitboss.experiments.clamped_games import experiment as persistent
from pitboss.experiments.games import experiment as games
from pitboss.experiments.patching import confirmation, effects, findings
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.controls_found import CONTROLS
from pitboss.experiments.pathway import attribution, decoding
from pitboss.experiments.pathway import experiment as pathway
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection import experiment as features
from pitboss.experiments.words import contexts, descriptions
from pitboss.experiments.words import experiment as words
from pitboss.games.outcomes import Outcome
from pitboss.models.catalogue import sae_release
from pitboss.report.summary import SUMMARY, Expected, write_summary
from pitboss.store import Store
from pitboss.studies.announce import announce
from pitboss.studies.model import Study


def write(study: Study, store: Store) -> dict[str, Any]:
    """Write summary.json and one Parquet file a table, and compare expected with actual counts.

    Returns:
        What summary.json holds.

    Raises:
        Incomplete: Counts differ, or a part is missing; summary.json says what.
    """
    # An older summary must not speak for a study in which something has gone missing since.
    (store.path / SUMMARY).unlink(missing_ok=True)
    steps = expected(study, store)
    limits = study.quality.model_dump() if study.quality else None
    write_summary(store, steps, extra={"quality": limits, **_findings(study, store)})
    for kind in dict.fromkeys(step.kind for step in steps):
        keys = {key for step in steps if step.kind == kind for key in step.keys}
        store.combine(kind, sorted(keys), kind)
    found: dict[str, Any] = store.read_json(SUMMARY)
    return found


def expected(study: Study, store: Store) -> list[Expected]:
    """What every experiment must have left behind."""
    return [step for steps in each_expected(study, store).values() for step in steps()]


def each_expected(study: Study, store: Store) -> dict[str, Callable[[], list[Expected]]]:
    """The same by experiment, asked for one at a time: an early one decides what a later one must.

    Each raises BadInput as long as what decides is not there.
    """
    return {
        "games": lambda: _games(study),
        "features": lambda: _features(study),
        "pathway": lambda: _pathway(study, store),
        "screening": lambda: _screening(study, store),
        "patching": lambda: _patching(study, store),
        "words": lambda: _words(study, store),
        "persistent": lambda: _persistent(study, store),
    }


def _games(study: Study) -> list[Expected]:
    steps = []
    for alias in study.games.models:
        made = games.units(study, alias)
        keys = [unit.key for unit in made]
        rows = sum(unit.rows or 0 for unit in made)
        steps += [
            Expected(f"games {alias}", "games", keys, rows),
            Expected(f"games {alias}", "decisions", keys),
        ]
    return steps


def _features(study: Study) -> list[Expected]:
    steps = []
    for alias in study.features.models:
        made = features.units(study, alias)
        key = features.selection_key(study, alias)
        every = len(made) * sae_release(study.models[alias].sae).d_sae
        steps.append(Expected(f"features {alias}", "features", [key]))
        if made:  # otherwise the statistics are imported
            steps += [
                Expected(f"features {alias}", "sums", [unit.key for unit in made], 2 * every),
                Expected(f"features {alias}", "statistics", [key], every),
            ]
        if made and study.features.adjust != "none":
            keys = [unit.key for unit in made]
            steps.append(Expected(f"features {alias}", "adjustments", keys, every))
    return steps


def _pathway(study: Study, store: Store) -> list[Expected]:
    made = pathway.done_units(study, store)
    following = pathway.next_unit(study, store)
    key = pathway.analysis_key(study, store)
    quota = {
        Outcome.BANKRUPTCY.value: study.pathway.bankruptcies,
        Outcome.VOLUNTARY_STOP.value: study.pathway.stops,
    }
    wanted = [*made, *([following] if following else [])]
    keys = [unit.key for unit in wanted]
    played = sum(unit.rows or 0 for unit in wanted)
    decoded, attributed = decoding.unit(study, store), attribution.unit(study)
    features = [Expected("pathway", "attribution", [attributed.key])] if attributed else []
    return [
        # The cap on games may end the collection early; that is reported, not hidden.
        Expected("pathway", "games", keys, played, {"outcome": quota}, shortfall_allowed=True),
        Expected("pathway", "decisions", keys),
        Expected("pathway", "activations", keys),
        Expected("pathway", "pathway", [key]),
        Expected("pathway", "pathway_curve", [key]),
        Expected("pathway", "decodability", [decoded.key], decoded.rows),
        Expected("pathway", "lens", [decoded.key]),
        *features,
    ]


def _screening(study: Study, store: Store) -> list[Expected]:
    if study.screening is None:
        return []
    made = screening.units(study, store)
    rows = sum(unit.rows or 0 for unit in made)
    each = len(study.screening.prompts) * len(study.screening.values)
    return [
        Expected("screening", "screening", [unit.key for unit in made], rows),
        Expected("screening", "ranking", [ranking.key(study, store)], rows // each),
    ]


def _patching(study: Study, store: Store) -> list[Expected]:
    made = patching.all_units(study, store)
    keys = [unit.key for unit in made]
    scenes = len(study.patching.prompts) + (study.patching.states is not None)
    # Features and the controls that go through the same tests; those of a first look are all.
    first = [unit for unit in made if unit.identity.get("look", 0) == 0]
    tested = sum(len(unit.payload.bank) for unit in first if unit.payload.role in ROLES)
    tests = tested * scenes * len(CONTRASTS) * len(OUTCOMES)
    key = effects.key(study, store)
    return [
        Expected("patching", "trials", keys, sum(unit.rows or 0 for unit in made)),
        Expected("patching", "effects", [key], tests),
        *_confirmation(study, store, key),
    ]


def _confirmation(study: Study, store: Store, key: str) -> list[Expected]:
    """The findings, and where the study confirms them the runs that do."""
    patched = _patched(study, store)
    if study.patching.confirmation is None:
        return [Expected("patching", "findings", [findings.key(study, key)], patched)]
    if not store.has("effects", key):
        return []  # which runs are due follows from the effects, and these are told to be missing
    made = confirmation.units(study, store)
    tested, asked = confirmation.key(study, store), len(confirmation.candidates(study, store))
    runs = sum(unit.rows or 0 for unit in made)
    return [
        Expected("confirmation", "trials", [unit.key for unit in made], runs),
        Expected("confirmation", "effects", [tested], 2 * asked),
        Expected("confirmation", "findings", [findings.key(study, key, tested)], patched),
    ]


def _tested(study: Study, store: Store) -> bool:
    return store.has("effects", effects.key(study, store))


def _patched(study: Study, store: Store) -> int:
    if study.patching.screen:
        return len(ranking.patched_bank(study, store))
    chosen = store.ref("features", features.selection_key(study, study.patching.model))
    return chosen.rows if chosen else 0


def _words(study: Study, store: Store) -> list[Expected]:
    if not _tested(study, store):
        return []  # which words are due follows from the effects, and these are told to be missing
    unit = words.unit(study, store)
    steps = [
        Expected("words", "tokens", [unit.key], unit.rows),
        Expected("words", "words", [unit.key]),
    ]
    if study.words.contexts:
        steps.append(Expected("words", "contexts", [contexts.unit(study, store).key]))
        # What was to be described follows from the contexts, and these are told to be missing.
        if study.words.describe and all(step_done(store, step) for step in steps):
            made = descriptions.units(study, store)
            rows = sum(unit.rows or 0 for unit in made)
            steps.append(Expected("words", "descriptions", [unit.key for unit in made], rows))
    return steps


def step_done(store: Store, step: Expected) -> bool:
    """Whether every part of a step is there."""
    return all(store.has(step.kind, key) for key in step.keys)


def _persistent(study: Study, store: Store) -> list[Expected]:
    settings = study.persistent
    if settings is None or (settings.features == "causal" and not _tested(study, store)):
        return []  # which games are due follows from the effects, and these are told to be missing
    made = persistent.all_units(study, store)
    keys, key = [unit.key for unit in made], held.key(study, store)
    return [
        Expected("persistent", "persistent", keys, sum(unit.rows or 0 for unit in made)),
        Expected("persistent", "decisions", keys),
        Expected("persistent", "persistent_effects", [key]),
        Expected("persistent", "persistent_contrasts", [key]),
    ]


def _findings(study: Study, store: Store) -> dict[str, Any]:
    """The headline, and how it compares with the plan's own numbers."""
    screened = _screened(study, store)
    if not _tested(study, store):
        return screened
    tested = store.read("effects", [effects.key(study, store)]).to_pandas()
    causal = causal_features(tested)
    announced = announce(study)
    found: dict[str, Any] = {
        "patched_features": _patched(study, store),
        "causal_features": len(causal),
        "controls": _controls(store),
        "planned": {"runs": announced.runs, "patching_runs": announced.patching.runs},
        "fingerprint": announced.fingerprint,
        **screened,
    }
    if study.patching.confirmation is not None:
        found["confirmed_features"] = _confirmed(study, store)
    if study.features.include == "planted":
        found["planted"] = _planted(study, set(causal))
    return found


def _confirmed(study: Study, store: Store) -> int | None:
    """Features found again; None while the confirmation is not finished."""
    tested = confirmation.key(study, store)
    key = findings.key(study, effects.key(study, store), tested)
    if not store.has("findings", key):
        return None
    return int(store.read("findings", [key]).to_pandas()["confirmed"].eq(True).sum())


def _controls(store: Store) -> dict[str, Any]:
    """What stands beside the count: how often the controls would have been counted."""
    found = store.read_json(CONTROLS)
    names = ("false_positive", "expected_false", "expected_false_high", "own_value")
    return {name: found[name] for name in names}


def _screened(study: Study, store: Store) -> dict[str, Any]:
    """How many features were screened, how many change anything, how many are to be confirmed."""
    if study.screening is None or not store.has("ranking", ranking.key(study, store)):
        return {}
    ranked = ranking.top(study, store)
    found: dict[str, Any] = {
        "features": len(ranked),
        "change_anything": int((~ranked["unchanged"]).sum()),
        "confirm": study.patching.confirm,
    }
    if study.features.include == "planted":
        causal = ranking.planted_among(study, ranked, "causal")
        found["planted_causal"] = int(causal.sum())
        found["planted_causal_leading"] = int(causal[: causal.sum()].sum())
    return {"screened": found}


def _planted(study: Study, causal: set[tuple[int, int]]) -> dict[str, Any]:
    """How many of the features with a known answer were judged right."""
    return {
        role: {"features": len(pairs), "found_causal": len(causal & pairs)}
        for role, pairs in effects.known_answers(study).items()
    }
