"""Exp2: is a feature causal? Patch it to a population mean while the model answers, and count.

A unit is one chunk of features or controls with all its prompts, values and trials, or the
baseline: the unpatched prompts, drawn once and shared by every feature. Trial t of a prompt has the
same noise in every arm, so arms differ by their patch alone.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from pitboss.analysis.outcomes import ROLES
from pitboss.engine import Patch
from pitboss.errors import BadInput
from pitboss.experiments.patching.arms import BASELINE, Chunk, arms, asked, bank_patch
from pitboss.experiments.patching.controls import by_layer, chosen, patches_of, random_bank
from pitboss.experiments.patching.interim import Looks, LookUnit, looks, rule_of
from pitboss.experiments.patching.trials import Runs, generate, own_values, trial_columns
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity, prompts_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank, screened_identity
from pitboss.games.scenes import scene_of, texts_hash
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

__all__ = ["BASELINE", "all_units", "bank_patch", "baseline_unit", "run", "shard", "units"]


def baseline_unit(study: Study) -> Unit:
    """The unpatched runs, shared by all features."""
    chunk = Chunk(BASELINE, tuple(asked(study.patching)))
    return _unit(study, "baseline", chunk, {"baseline": True}, 1)


def units(study: Study, store: Store) -> list[Unit]:
    """The chunks of the features to be patched: at most `chunk` features of one layer each.

    Raises:
        BadInput: The bank of these features does not exist or is damaged.
        Mismatch: The bank in its place was made for something else.
    """
    return _parts(store, feature_chunks(study, store))


def feature_chunks(study: Study, store: Store) -> list[Unit]:
    """The same as a lane takes them: in a sequential design all looks of a chunk are one."""
    bank, prompts = patched_bank(study, store), tuple(asked(study.patching))
    chosen_by = screened_identity(study, store)
    made = [
        feature_unit(study, "", bank, Chunk("feature", prompts, some), start, chosen_by)
        for _, of_layer in by_layer(bank)
        for start, some in _pieces(of_layer, study.patching.chunk)
    ]
    return [_looked_at(study, len(bank), unit) for unit in made]


def _parts(store: Store, chunks: list[Unit]) -> list[Unit]:
    """The units that are parts of the store, as far as they are known."""
    return [part for chunk in chunks for part in parts_of(store, chunk)]


def parts_of(store: Store, unit: Unit) -> list[Unit]:
    """A unit itself, or the looks of a sequential chunk that are known so far."""
    return looks(unit, store)[0] if isinstance(unit, LookUnit) else [unit]


def control_units(study: Study, store: Store) -> list[Unit]:
    """The controls that can fail first come first; none shares a unit with features.

    Raises:
        BadInput: As for `units`, or an SAE is missing.
        Incomplete: The statistics by which random features are matched are missing.
    """
    settings, wanted, seed = study.patching, study.patching.controls, study.seed
    bank, prompts = patched_bank(study, store), tuple(asked(study.patching))
    made = []
    own = chosen(bank, seed, "own_value", wanted.own_value)
    if len(own):
        made.append(feature_unit(study, "own-value", bank, Chunk("own_value", prompts, own)))
    for layer, of_layer in by_layer(bank) if wanted.reconstruction else ():
        chunk = Chunk("reconstruction", prompts, of_layer.rows([0]))
        identity = {"sae": bank.meta["saes"][str(layer)], **_arm_identity(study)}
        slug = f"reconstruction-L{layer:02d}"
        made.append(_unit(study, slug, chunk, {"role": chunk.role, **identity}, 1))
    random = random_bank(study, store)
    for _, of_layer in by_layer(random) if random is not None else ():
        assert random is not None
        names = dict(zip(_pairs(random), random.meta["matched"], strict=True))
        for start, some in _pieces(of_layer, settings.chunk):
            matched = tuple(names[pair] for pair in _pairs(some))
            chunk = Chunk("random_feature", prompts, some, matched)
            made.append(feature_unit(study, "random-", random, chunk, start))
    if settings.mode == "delta":
        turned = chosen(bank, seed, "random_direction", wanted.random_directions)
        for start, some in _pieces(turned, settings.chunk):
            matched = tuple(f"L{layer}/F{feature}" for layer, feature in _pairs(some))
            chunk = Chunk("random_direction", prompts, some, matched)
            made.append(feature_unit(study, f"directions-{start:04d}", bank, chunk))
    return made


def all_units(study: Study, store: Store) -> list[Unit]:
    """The baseline, every control and every chunk: the parts that the store must hold.

    In a sequential design a chunk's next look is known, and listed, once the one before is stored.
    """
    return _parts(store, work(study, store))


def work(study: Study, store: Store) -> list[Unit]:
    """The same as lanes take them, in the order in which they want them.

    What may fail comes before what takes days; random features and directions come last.
    """
    controls, patched = control_units(study, store), len(patched_bank(study, store))
    first = [unit for unit in controls if unit.payload.role not in ROLES]
    last = [_looked_at(study, patched, u) for u in controls if u.payload.role in ROLES]
    return [baseline_unit(study), *first, *feature_chunks(study, store), *last]


def _pairs(bank: FeatureBank) -> list[tuple[int, int]]:
    return list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))


def _pieces(bank: FeatureBank, size: int) -> Iterator[tuple[int, FeatureBank]]:
    for start in range(0, len(bank), size):
        yield start, bank.rows(list(range(start, min(start + size, len(bank)))))


def feature_unit(
    study: Study,
    prefix: str,
    bank: FeatureBank,
    chunk: Chunk,
    start: int | None = None,
    more: Mapping[str, Any] | None = None,
) -> Unit:
    """A unit of features or controls.

    Args:
        prefix: First part of its name; layer and start follow where a start is given.
        bank: The bank they come from, whose meta names the SAEs.
    """
    assert chunk.bank is not None
    layers = sorted(set(chunk.bank.layer.tolist()))
    slug = prefix if start is None else f"{prefix}L{layers[0]:02d}-{start:04d}"
    names = study.patching.values if chunk.role != "own_value" else []
    role = {} if chunk.role == "feature" else {"role": chunk.role, "matched": list(chunk.matched)}
    saes = [bank.meta["saes"][str(layer)] for layer in layers]
    identity = {
        **(more or {}),
        **role,
        "sae": saes[0] if len(saes) == 1 else saes,
        "features": chunk.bank.feature.tolist(),
        **({"layers": chunk.bank.layer.tolist()} if len(layers) > 1 else {}),
        "values": {name: chunk.bank.values[name].tolist() for name in names},
        **_arm_identity(study),
    }
    return _unit(study, slug, chunk, identity, max(1, len(names)))


def _looked_at(study: Study, patched: int, unit: Unit) -> Unit:
    """In a sequential design the unit of all looks of a chunk of features or their controls."""
    chunk: Chunk = unit.payload
    if study.patching.sequential is None or chunk.role not in ROLES:
        return unit
    scenes = {scene_of(a.prompt.name) for a in chunk.prompts}
    rule = rule_of(study, patched * len(scenes))
    identity = {**unit.identity, "sequential": asdict(rule)}

    def make(of_look: Chunk, number: int) -> Unit:
        trials = [[a.prompt.name, a.trials.start, a.trials.stop] for a in of_look.prompts]
        stopped = sorted([*name] for name in of_look.stopped)
        return replace(
            unit,
            slug=f"{unit.slug}-look-{number + 1}",
            identity={**identity, "look": number, "trials": trials, "stopped": stopped},
            rows=len(study.patching.values) * of_look.runs,
            payload=of_look,
        )

    return LookUnit(
        unit.experiment, unit.kind, unit.slug, identity, None, payload=Looks(chunk, rule, make)
    )


def _arm_identity(study: Study) -> dict[str, Any]:
    return {"mode": study.patching.mode, "positions": study.patching.positions}


def _unit(study: Study, slug: str, chunk: Chunk, identity: Mapping[str, Any], values: int) -> Unit:
    """A unit of patching; `values` counts the arms of each feature in each prompt."""
    settings = study.patching
    fixed = [a.prompt.name for a in chunk.prompts if a.prompt.name in settings.prompts]
    states = [a.prompt.name for a in chunk.prompts if a.prompt.name not in settings.prompts]
    return Unit(
        experiment="patching",
        kind="trials",
        slug=f"{settings.model}/{slug}",
        identity={
            **model_identity(study, settings.model),
            "phase": chunk.phase,
            "prompts": prompts_identity(fixed),
            "states": {"names": states, "texts": texts_hash(states)},
            "trials": [[a.trials.start, a.trials.stop] for a in chunk.prompts],
            "sampling": settings.sampling.model_dump(),
            "full_response": settings.full_response,
            # Reading can be done again from the stored text, unless it decided where the text ends.
            "reader": None if settings.full_response else settings.reader,
            **identity,
        },
        rows=values * chunk.runs,
        payload=chunk,
    )


def shard(chunks: list[Unit], index: int, of: int) -> list[Unit]:
    """Every `of`-th chunk from `index` on: what one of several devices does."""
    if not 0 <= index < of:
        raise BadInput(f"shard {index} of {of} does not exist", next="Count shards from 0.")
    return chunks[index::of]


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Generate and read all runs of one chunk or of the baseline, and commit them.

    Raises:
        Mismatch: A feature patched to its own value changed a response.
    """
    if done := unit.ref(store):
        return done
    if isinstance(unit, LookUnit):
        while unit.ref(store) is None:
            run(lane, store, parts_of(store, unit)[-1], slots)
        return run(lane, store, unit, slots)
    began = time.time()
    chunk: Chunk = unit.payload
    bank, settings = chunk.bank, lane.study.patching
    patches: dict[int, dict[str, Patch]] = (
        {} if bank is None else patches_of(chunk.role, bank, settings, lane.study.seed)
    )
    wanted = [(arm, trial) for arm in arms(chunk, patches) for trial in arm.asked.trials]
    by_key = {arm.key(lane.alias, trial): (arm, trial) for arm, trial in wanted}
    unpatched: Runs = {}
    if chunk.role == "own_value":  # drawn beside it, so that a difference shows before days of work
        plain = arms(Chunk(BASELINE, chunk.prompts, phase=chunk.phase), {})
        unpatched = {a.key(lane.alias, t): (a, t) for a in plain for t in a.asked.trials}
    generations = generate(lane, {**by_key, **unpatched}, chunk.prompts, slots)
    if unpatched:
        generations = own_values(generations, by_key, unpatched)
    rows = [trial_columns(lane, *by_key[g.key], g) for g in generations]
    tokens = sum(len(g.tokens) for g in generations)
    facts = {"slots": slots or lane.width, "device": str(lane.loaded.device), "tokens": tokens}
    return unit.commit(store, table_of("trials", rows), began, facts)
