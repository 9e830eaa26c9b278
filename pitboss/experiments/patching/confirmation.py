"""What Exp2 found causal, asked again where nothing of the discovery can have leaked in.

A candidate is asked in the scene in which its effect was clearest: in a fixed scene with noise that
the discovery did not use, in generated states with other states as well. A unit is one chunk of
candidates of one layer and scene; it is run as every other unit of patching.
"""

import pandas as pd

from pitboss.analysis.confirmation import confirm
from pitboss.analysis.effects import CONFIRMATION
from pitboss.analysis.findings import clearest
from pitboss.errors import BadInput
from pitboss.experiments.patching import effects, findings
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.arms import Arm, Asked, Chunk, asked
from pitboss.experiments.patching.controls_settings import Confirmation
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank
from pitboss.games.scenes import STATES, scene, state_names
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, part_key, table_of
from pitboss.studies.model import Study


def section(study: Study) -> Confirmation:
    """The study's confirmation.

    Raises:
        BadInput: It has none.
    """
    if study.patching.confirmation is None:
        raise BadInput(
            f"The study {study.name} confirms nothing.",
            where="study file, patching",
            next="Add a confirmation, such as `confirmation: {trials: 40}`.",
        )
    return study.patching.confirmation


def candidates(study: Study, store: Store) -> pd.DataFrame:
    """The features found causal with the scene and direction of their clearest effect.

    Returns:
        Columns layer, feature, prompt, direction.

    Raises:
        Incomplete: The effects of the discovery are missing.
    """
    tested = store.read("effects", [effects.key(study, store)]).to_pandas()
    best = clearest(tested)
    return best.loc[best["causal"], ["layer", "feature", "prompt", "direction"]]


def prompts(study: Study, of_scene: str) -> tuple[Asked, ...]:
    """Where candidates of a scene are asked again.

    Raises:
        BadInput: A state or noise of the discovery would be used again.
    """
    again, states = section(study), study.patching.states
    if of_scene != STATES:
        chosen: tuple[Asked, ...] = (Asked(scene(of_scene), range(again.trials)),)
    else:
        assert states is not None
        first, count = (states.count, states.held_out) if states.held_out else (0, states.count)
        trials = range(again.state_trials)
        chosen = tuple(Asked(scene(name), trials) for name in state_names(first, count))
    _require_new(study, of_scene, chosen)
    return chosen


def _require_new(study: Study, of_scene: str, chosen: tuple[Asked, ...]) -> None:
    before = asked(study.patching)
    states = study.patching.states
    if of_scene == STATES and states is not None and states.held_out:
        texts = {one.prompt.text for one in before}
        if again := [one.prompt.name for one in chosen if one.prompt.text in texts]:
            raise BadInput(
                f"{len(again)} held-out states belong to the discovery, first {again[0]}.",
                where="patching.states",
            )
    noises = [
        {
            Arm(one, "safe", None, "feature", phase=phase).noise(trial)
            for one in some
            for trial in one.trials
        }
        for some, phase in ((before, "discovery"), (chosen, CONFIRMATION))
    ]
    if shared := noises[0] & noises[1]:
        raise BadInput(f"{len(shared)} runs would use noise of the discovery again.")


def units(study: Study, store: Store) -> list[Unit]:
    """The chunks of candidates, scene by scene and layer by layer; none if nothing was causal.

    Raises:
        Incomplete: The effects of the discovery are missing.
    """
    bank, found = patched_bank(study, store), candidates(study, store)
    names = list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    made = []
    for of_scene, rows in found.groupby("prompt", sort=True):
        where = prompts(study, str(of_scene))
        for layer, of_layer in rows.groupby("layer", sort=True):
            wanted = set(of_layer["feature"].astype(int))
            index = [
                i for i, (at, feature) in enumerate(names) if at == layer and feature in wanted
            ]
            for start in range(0, len(index), study.patching.chunk):
                some = bank.rows(index[start : start + study.patching.chunk])
                made.append(_unit(study, str(of_scene), where, bank, some, start))
    return made


def _unit(
    study: Study,
    of_scene: str,
    where: tuple[Asked, ...],
    bank: FeatureBank,
    some: FeatureBank,
    start: int,
) -> Unit:
    chunk = Chunk("feature", where, some, phase=CONFIRMATION)
    prefix = f"again-{of_scene.rsplit('/', 1)[-1]}-"
    return patching.feature_unit(study, prefix, bank, chunk, start)


def key(study: Study, store: Store) -> str:
    """Content key of the confirmation's effects."""
    return part_key(study.patching.model, _identity(study, store))


def _identity(study: Study, store: Store) -> dict[str, object]:
    keys = [unit.key for unit in units(study, store)]
    before = effects.key(study, store)
    return {
        "confirmation": section(study).model_dump(),
        "effects": before,
        "trials": keys,
        "reader": effects.read_by(study),
        "test": study.statistics.test,
    }


def test(study: Study, store: Store) -> PartRef:
    """Test the candidates once all runs are there, and gather the findings.

    Returns:
        The findings.

    Raises:
        Incomplete: A unit is missing.
    """
    keys = [unit.key for unit in units(study, store)]
    store.coverage("trials", keys).require()
    found = candidates(study, store)
    rows: pd.DataFrame | list[dict[str, object]] = []
    if len(found):
        trials = effects.read_trials(study, store, keys)
        rows = confirm(trials, found, section(study).fdr, test=study.statistics.test)
    identity = _identity(study, store)
    ref = store.commit("effects", key(study, store), table_of("effects", rows), identity=identity)
    return findings.commit(study, store, effects.key(study, store), ref.key)
