"""Exp5: whole games under a patch that stays. One unit is a few features of one layer, all arms.

Every response of a game is drawn with the same patch in place: the feature is held at one value at
the last prompt token and at every generated token, round after round. The same games are played
without a patch, once for all features, and for some features with the patch written along a random
direction. A game has the same luck and the same noise in all arms, so arms differ by their patch
alone.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pitboss.engine import Patch
from pitboss.engine.controls import random_change
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.games.experiment import (
    GameId,
    as_original,
    decision_rows,
    game_row,
    play_all,
    play_identity,
)
from pitboss.experiments.patching import effects
from pitboss.experiments.patching.experiment import bank_patch
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity, prompts_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank
from pitboss.games.slot_machine import SlotMachine
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Persistent, Study

BASELINE, FEATURE, DIRECTION = "baseline", "feature", "random_direction"
_POSITIONS = "prompt_last_and_generated"
Name = tuple[int, int]  # layer, feature


@dataclass(frozen=True)
class _Chunk:
    """The features of a unit; those from the first that are controlled as well."""

    bank: FeatureBank
    controlled: frozenset[Name]


@dataclass(frozen=True)
class _Arm:
    role: str
    arm: str
    patch: Patch | None

    @property
    def name(self) -> str:
        """Where its games stand in keys."""
        if self.patch is None:
            return BASELINE
        return f"L{self.patch.layer:02d}/F{self.patch.feature}/{self.role}/{self.arm}"


def section(study: Study) -> Persistent:
    """The study's section, or BadInput if it has none."""
    if study.persistent is None:
        raise BadInput(
            "The study has no persistent section.",
            where=f"study {study.name}",
            next="Add one, such as persistent: {model: llama}, under another study name.",
        )
    return study.persistent


def chosen(study: Study, store: Store) -> list[Name]:
    """Layer and feature of those to be held, the strongest first.

    Raises:
        Incomplete: The causal ones are asked for, and the patching's effects are not tested yet.
    """
    settings = section(study)
    if isinstance(settings.features, dict):
        return [(layer, i) for layer, ids in sorted(settings.features.items()) for i in ids]
    found = store.ref("effects", effects.key(study, store))
    if found is None:
        raise Incomplete(
            "The patching's effects are not tested yet.",
            next="Finish the patching; or name the features in persistent.features.",
        )
    return strongest(store.read("effects", [found.key]).to_pandas())[: settings.most]


def strongest(table: pd.DataFrame) -> list[Name]:
    """The causal features of an effects table, by the largest difference of their stop rates.

    Where that is the same, by the mean over all scenes.
    """
    mine = table["causal"] & (table["contrast"] == "safe_vs_risky")
    for column, value in (("role", FEATURE), ("outcome", "stop")):
        if column in table:
            mine &= table[column] == value
    size = table[mine].assign(size=table["difference"].abs())
    by_size = size.groupby(["layer", "feature"])["size"].agg(["max", "mean"]).reset_index()
    ordered = by_size.sort_values(
        ["max", "mean", "layer", "feature"], ascending=[False, False, True, True]
    )
    return [(int(x), int(i)) for x, i in ordered[["layer", "feature"]].itertuples(index=False)]


def baseline_unit(study: Study) -> Unit:
    """The games without a patch, shared by all features."""
    settings = section(study)
    return Unit(
        experiment="persistent",
        kind="persistent",
        slug=f"{settings.model}/persistent-baseline",
        identity={"baseline": True, **_identity(study)},
        rows=settings.games_per_arm,
        beside=("decisions",),
    )


def units(study: Study, store: Store) -> list[Unit]:
    """The chunks: at most `chunk` features of one layer each, controls of the first ones included.

    Raises:
        BadInput: A feature is not among the patched ones.
        Incomplete: See `chosen`.
    """
    settings, names = section(study), chosen(study, store)
    controlled = frozenset(names[: settings.controls])
    bank = patched_bank(study, store)
    known = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
    row = {name: i for i, name in enumerate(known)}
    if strangers := [name for name in names if name not in row]:
        raise BadInput(
            f"{len(strangers)} features are not among the patched ones, first (layer, feature) "
            f"{strangers[0]}: their values are not known.",
            where="persistent.features",
            next="Take them in by features.include, or leave them out.",
        )
    found = []
    for layer in sorted({layer for layer, _ in names}):
        own = [name for name in sorted(names) if name[0] == layer]
        for start in range(0, len(own), settings.chunk):
            some = own[start : start + settings.chunk]
            here = bank.rows([row[name] for name in some])
            found.append(_chunk(study, here, controlled & set(some), start))
    return found


def _chunk(study: Study, bank: FeatureBank, controlled: frozenset[Name], start: int) -> Unit:
    settings, layer = section(study), int(bank.layer[0])
    arms = (len(bank) + len(controlled)) * len(settings.values)
    return Unit(
        experiment="persistent",
        kind="persistent",
        slug=f"{settings.model}/persistent-L{layer:02d}-{start:04d}",
        identity={
            **_identity(study),
            "sae": bank.meta["saes"][str(layer)],
            "features": bank.feature.tolist(),
            "values": {name: bank.values[name].tolist() for name in settings.values},
            "controlled": sorted(feature for _, feature in controlled),
            "positions": _POSITIONS,
        },
        rows=arms * settings.games_per_arm,
        beside=("decisions",),
        payload=_Chunk(bank, controlled),
    )


def _identity(study: Study) -> dict[str, Any]:
    settings = section(study)
    return {
        **model_identity(study, settings.model, "persistent"),
        "prompts": prompts_identity([settings.prompt]),
        "conditions": [condition.key for condition in settings.resolved_conditions],
        "repetitions": settings.repetitions,
        **play_identity(settings, settings.sampling),
    }


def all_units(study: Study, store: Store) -> list[Unit]:
    """The baseline and every chunk."""
    return [baseline_unit(study), *units(study, store)]


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Play all games of one chunk or of the baseline; commit their decisions, then the games."""
    if done := unit.ref(store):
        return done
    began = time.time()
    settings = section(lane.study)
    games = {
        game.key: (arm, ids, game)
        for arm in _arms(lane.study, unit.payload)
        for ids, game in _games(lane.study, arm.name)
    }
    patches = {key: (arm.patch,) for key, (arm, _, _) in games.items() if arm.patch}
    machines = [game for _, _, game in games.values()]
    played = play_all(lane, settings, settings.sampling, machines, slots, patches=patches)
    common = {"experiment": "persistent", "model": lane.loaded.spec.id, "seed": lane.study.seed}
    decisions = decision_rows(played, machines, common)
    of_game = played.by_game()
    rows = [
        {**game_row(game, repetition, of_game[key], common), **_columns(arm), "game": game.draws}
        for key, (arm, (_, repetition), game) in games.items()
    ]
    store.commit(
        "decisions",
        unit.key,
        table_of("decisions", decisions),
        identity=unit.identity,
        facts={"experiment": "persistent"},
    )
    width = lane.width_of("persistent")
    facts = {"slots": min(slots or width, width), "device": str(lane.loaded.device)}
    facts["responses"] = len(decisions)
    return unit.commit(store, table_of("persistent", rows), began, facts)


def _games(study: Study, arm: str) -> Iterator[tuple[GameId, SlotMachine]]:
    settings = section(study)
    for condition in settings.resolved_conditions:
        for repetition in range(settings.repetitions):
            name = f"{condition.key}/{repetition:03d}"
            yield (
                (condition, repetition),
                SlotMachine(
                    f"{settings.model}/persistent/{arm}/{name}",
                    condition,
                    study.seed,
                    prompt=settings.prompt,
                    max_rounds=settings.max_rounds,
                    as_original=as_original(settings.reader),
                    draws=f"{settings.model}/persistent/{name}",
                ),
            )


def _arms(study: Study, chunk: _Chunk | None) -> Iterator[_Arm]:
    if chunk is None:
        yield _Arm(BASELINE, BASELINE, None)
        return
    bank = chunk.bank
    held = study.patching.model_copy(update={"mode": "delta", "positions": _POSITIONS})
    for i, name in enumerate(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)):
        for value in section(study).values:
            patch = bank_patch(bank, i, float(bank.values[value][i]), held)
            yield _Arm(FEATURE, value, patch)
            if name in chunk.controlled:
                yield _Arm(DIRECTION, value, _turned(study, patch))


def _turned(study: Study, patch: Patch) -> Patch:
    """The same patch along a random direction; one direction a feature, whatever its value."""
    name = f"persistent/L{patch.layer}/F{patch.feature}"
    [turned] = random_change([patch], seed=study.seed, name=name)
    return turned


def _columns(arm: _Arm) -> dict[str, Any]:
    patch = arm.patch
    if patch is None:
        return {"role": arm.role, "arm": arm.arm}
    control = arm.role == DIRECTION
    return {
        "role": arm.role,
        "arm": arm.arm,
        "layer": patch.layer,
        "feature": patch.feature,
        "matched": f"L{patch.layer}/F{patch.feature}" if control else None,
        "value": patch.value,
    }


def played(study: Study, store: Store, wanted: Sequence[Unit]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Games and decisions of finished units.

    Raises:
        Incomplete: A unit is missing.
    """
    keys = [unit.key for unit in wanted]
    columns = ["key", "game", "round", "balance", "bet", "won"]
    decisions = store.read("decisions", keys, columns=columns).to_pandas()
    return store.read("persistent", keys).to_pandas(), decisions
