"""Exp2: is a feature causal? Patch it to a population mean while the model answers, and count.

A unit is one chunk of features of one layer with all its prompts, values and trials, or the
baseline: the unpatched prompts, drawn once and shared by every feature. Trial t of a prompt has the
same noise in every arm, so arms differ by their patch alone.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from pitboss.engine import Generation, Patch, Row
from pitboss.errors import BadInput
from pitboss.experiments.identity import model_identity, prompts_identity
from pitboss.experiments.lane import Lane
from pitboss.experiments.play import reading_columns
from pitboss.experiments.ranking import patched_bank, screened_identity
from pitboss.experiments.units import Unit
from pitboss.games.prompts import Prompt, render
from pitboss.games.reading import reader
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

BASELINE = "baseline"


@dataclass(frozen=True)
class Arm:
    """One prompt under one value of one feature, or under none."""

    prompt: Prompt
    name: str
    patch: Patch | None

    def key(self, alias: str, trial: int) -> str:
        """Name of one run of this arm."""
        where = f"L{self.patch.layer:02d}/F{self.patch.feature}" if self.patch else BASELINE
        return f"{alias}/{where}/{self.prompt.name}/{self.name}/{trial:03d}"


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
            yield Arm(prompt, BASELINE, None)
            continue
        for i in range(len(bank)):
            for value in settings.values:
                target = float(bank.values[value][i])
                yield Arm(prompt, value, bank_patch(bank, i, target, settings))


def bank_patch(bank: FeatureBank, i: int, value: float | None, settings: Any) -> Patch:
    """The patch that sets a bank's i-th feature to a value (None: to its own)."""
    return Patch(
        layer=int(bank.layer[i]),
        feature=int(bank.feature[i]),
        enc=bank.enc[i],
        shift=float(bank.shift[i]),
        scale=float(bank.scale[i]),
        bias=float(bank.bias[i]),
        threshold=float(bank.threshold[i]),
        dec=bank.dec[i],
        value=value,
        mode=settings.mode,
        positions=settings.positions,
    )


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
                noise=f"{arm.prompt.name}/{trial:03d}",
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
    patch = arm.patch
    patched = {
        "layer": patch.layer if patch else None,
        "feature": patch.feature if patch else None,
        "value": patch.value if patch else None,
        "mode": patch.mode if patch else None,
        "positions": patch.positions if patch else None,
    }
    return {
        "key": generation.key,
        "model": lane.loaded.spec.id,
        "prompt": arm.prompt.name,
        "prompt_sha256": sha256(arm.prompt.text.encode()).hexdigest(),
        "arm": arm.name,
        **patched,
        "trial": trial,
        "seed": lane.study.seed,
        "noise": f"{arm.prompt.name}/{trial:03d}",
        "response": generation.text,
        "n_tokens": len(generation.tokens),
        "finish": generation.finish,
        **reading_columns(reading),
    }
