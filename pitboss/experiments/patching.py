"""Exp2: is a feature causal? Patch it to a population mean while the model answers, and count.

A unit is one chunk of features of one layer with all its prompts, values and trials, or the
baseline: the unpatched prompts, drawn once and shared by every feature. Trial t of a prompt has the
same noise in every arm, so arms differ by their patch alone.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from pitboss.engine import Generation, Row
from pitboss.errors import BadInput
from pitboss.experiments.arms import BASELINE, Arm, bank_patch
from pitboss.experiments.identity import model_identity, prompts_identity
from pitboss.experiments.lane import Lane
from pitboss.experiments.play import reading_columns
from pitboss.experiments.ranking import patched_bank, screened_identity
from pitboss.experiments.units import Unit
from pitboss.games.prompts import render
from pitboss.games.reading import reader
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study


def baseline_unit(study: Study) -> Unit:
    """The unpatched runs, shared by all features."""
    settings = study.patching
    return Unit(
        experiment="patching",
        kind="trials",
        slug=f"{settings.model}/baseline",
        identity={"baseline": True, **_identity(study)},
        rows=len(settings.prompts) * settings.trials,
    )


def units(study: Study, store: Store) -> list[Unit]:
    """The chunks of the features to be patched: at most `chunk` features of one layer each.

    Raises:
        BadInput: The bank of these features does not exist or is damaged.
        Mismatch: The bank in its place was made for something else.
    """
    settings = study.patching
    bank, chosen_by = patched_bank(study, store), screened_identity(study, store)
    found: list[Unit] = []
    for layer in sorted(set(bank.layer.tolist())):
        index = [i for i, at in enumerate(bank.layer.tolist()) if at == layer]
        for start in range(0, len(index), settings.chunk):
            some = index[start : start + settings.chunk]
            found.append(_chunk(study, bank, layer, start, some, chosen_by))
    return found


def _chunk(
    study: Study,
    bank: FeatureBank,
    layer: int,
    start: int,
    index: list[int],
    chosen_by: Mapping[str, Any],
) -> Unit:
    settings = study.patching
    chosen = bank.rows(index)
    runs = len(settings.prompts) * len(settings.values) * settings.trials
    return Unit(
        experiment="patching",
        kind="trials",
        slug=f"{settings.model}/L{layer:02d}-{start:04d}",
        identity={
            **_identity(study),
            **chosen_by,
            "sae": bank.meta["saes"][str(layer)],
            "features": chosen.feature.tolist(),
            "values": {name: chosen.values[name].tolist() for name in settings.values},
            "mode": settings.mode,
            "positions": settings.positions,
        },
        rows=len(index) * runs,
        payload=chosen,
    )


def _identity(study: Study) -> dict[str, Any]:
    settings = study.patching
    return {
        **model_identity(study, settings.model),
        "prompts": prompts_identity(settings.prompts),
        "trials": settings.trials,
        "sampling": settings.sampling.model_dump(),
        "full_response": settings.full_response,
        # Reading can be done again from the stored text, unless it decided where the text ends.
        "reader": None if settings.full_response else settings.reader,
    }


def shard(chunks: list[Unit], index: int, of: int) -> list[Unit]:
    """Every `of`-th chunk from `index` on: what one of several devices does."""
    if not 0 <= index < of:
        raise BadInput(f"shard {index} of {of} does not exist", next="Count shards from 0.")
    return chunks[index::of]


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Generate and read all runs of one chunk or of the baseline, and commit them."""
    if done := unit.ref(store):
        return done
    began = time.time()
    settings = lane.study.patching
    arms = {
        (arm, trial): None
        for arm in _arms(lane.study, unit.payload)
        for trial in range(settings.trials)
    }
    by_key = {arm.key(lane.alias, trial): (arm, trial) for arm, trial in arms}
    generations = _generate(lane, by_key, slots)
    rows = [_trial(lane, *by_key[g.key], g) for g in generations]
    tokens = sum(len(g.tokens) for g in generations)
    facts = {"slots": slots or lane.width, "device": str(lane.loaded.device), "tokens": tokens}
    return unit.commit(store, table_of("trials", rows), began, facts)


def _arms(study: Study, bank: FeatureBank | None) -> Iterator[Arm]:
    settings = study.patching
    for prompt in (render(name) for name in settings.prompts):
        if bank is None:
            yield Arm(prompt, prompt.name, BASELINE, None, BASELINE)
            continue
        for i in range(len(bank)):
            named = int(bank.layer[i]), int(bank.feature[i])
            for value in settings.values:
                patch = bank_patch(bank, i, float(bank.values[value][i]), settings)
                yield Arm(prompt, prompt.name, value, patch, "feature", named)


def _generate(
    lane: Lane, by_key: Mapping[str, tuple[Arm, int]], slots: int | None
) -> list[Generation]:
    settings = lane.study.patching
    sampling = lane.sampling(settings.sampling)
    read = reader(settings.reader)
    names = list(dict.fromkeys(arm.prompt.name for arm, _ in by_key.values()))
    tokens = {name: tuple(lane.loaded.encode(render(name).text)) for name in names}
    layers = {arm.patch.layer for arm, _ in by_key.values() if arm.patch is not None}
    whole = settings.mode != "delta"
    engine = lane.engine(
        prompt_capacity=max(map(len, tokens.values())),
        token_capacity=sampling.max_new_tokens,
        slots=slots,
        prefixes=len(names),
        saes={layer: lane.sae(layer, lane.study.features.gate) for layer in layers}
        if whole
        else None,
    )
    rows = []
    for key, (arm, trial) in by_key.items():
        menu = arm.prompt.menu
        ends = None if settings.full_response else read.watch(menu)
        rows.append(
            Row(
                key=key,
                prompt=tokens[arm.prompt.name],
                noise=arm.noise(trial),
                sampling=sampling,
                patches=(arm.patch,) if arm.patch else (),
                ends=ends,
            )
        )
    return engine.run(rows)


def all_units(study: Study, store: Store) -> list[Unit]:
    """The baseline and every chunk."""
    return [baseline_unit(study), *units(study, store)]


def _trial(lane: Lane, arm: Arm, trial: int, generation: Generation) -> dict[str, Any]:
    settings = lane.study.patching
    reading = reader(settings.reader).read(generation.text, arm.prompt.menu, generation.finish)
    return {
        "key": generation.key,
        "model": lane.loaded.spec.id,
        **arm.columns(),
        "trial": trial,
        "seed": lane.study.seed,
        "noise": arm.noise(trial),
        "response": generation.text,
        "n_tokens": len(generation.tokens),
        "finish": generation.finish,
        **reading_columns(reading),
    }
