"""Exp1: how the decision forms, layer by layer and round by round.

Games are played in batches until enough of them ended in bankruptcy and in a voluntary stop; of the
first that fill each quota, every round's SAE activations are kept, sparse. What the cap on games
leaves open is reported as a shortfall.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pitboss.analysis.pathway import pathway
from pitboss.errors import Incomplete
from pitboss.experiments.games import experiment as games
from pitboss.experiments.games.experiment import (
    as_original,
    decision_rows,
    game_row,
    play_all,
    play_identity,
)
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity, prompts_identity, sae_identity
from pitboss.experiments.runtime.play import Played
from pitboss.experiments.runtime.states import activations_table
from pitboss.experiments.runtime.unit import Unit
from pitboss.games.conditions import Condition
from pitboss.games.outcomes import Outcome
from pitboss.games.slot_machine import SlotMachine
from pitboss.store import PartRef, Store, part_key, table_of
from pitboss.studies.model import Study


class Progress(NamedTuple):
    """Games played so far and how far the quotas are filled."""

    games: int
    bankruptcies: int
    stops: int
    shortfall: tuple[str, ...]


class _Batch(NamedTuple):
    ids: list[games.GameId]
    room: dict[str, int]  # outcome → games still wanted before this batch


def next_unit(study: Study, store: Store) -> Unit | None:
    """The next batch to play; None when the quotas are filled or the cap is reached."""
    for unit in batches(study, store):
        if unit.ref(store) is None:
            return unit
    return None


def done_units(study: Study, store: Store) -> list[Unit]:
    """The batches played so far, in order."""
    return [unit for unit in batches(study, store) if unit.ref(store) is not None]


def batches(study: Study, store: Store) -> Iterator[Unit]:
    """Batches in order, up to the one that fills the quotas or one that is not played.

    Whoever plays each as it comes gets all that are needed.
    """
    settings = study.pathway
    room = _room(study)
    for number in range(-(-settings.max_games // settings.batch)):
        if not any(room.values()):
            return
        unit = _unit(study, number, dict(room))
        yield unit
        if unit.ref(store) is None:
            return
        outcomes = store.read("games", [unit.key])["outcome"].to_pylist()
        for outcome in room:
            room[outcome] = max(0, room[outcome] - outcomes.count(outcome))


def _unit(study: Study, number: int, room: dict[str, int]) -> Unit:
    settings = study.pathway
    conditions = settings.resolved_conditions
    first = number * settings.batch
    last = min(first + settings.batch, settings.max_games)
    ids = [(conditions[n % len(conditions)], n // len(conditions)) for n in range(first, last)]
    return Unit(
        experiment="pathway",
        kind="games",
        slug=f"{settings.model}/pathway-{number:04d}",
        identity={
            **model_identity(study, settings.model, "pathway"),
            "prompts": prompts_identity([settings.prompt]),
            "games": [[condition.key, repetition] for condition, repetition in ids],
            "saes": [
                sae_identity(study, settings.model, layer, settings.gate)
                for layer in settings.layers
            ],
            "room": room,
            "decisions": "carried out",
            **play_identity(settings, settings.sampling),
        },
        rows=len(ids),
        beside=("activations", "decisions"),
        payload=_Batch(ids, room),
    )


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Play one batch; commit activations of the games that count, decisions, then games."""
    if done := unit.ref(store):
        return done
    began = time.time()
    settings = lane.study.pathway
    batch: _Batch = unit.payload
    played_games = [_game(lane, condition, repetition) for condition, repetition in batch.ids]
    layers = tuple(settings.layers)
    place = {game.key: n for n, game in enumerate(played_games)}
    ended: list[tuple[int, str, str]] = []

    def keep_states(game: SlotMachine, played: Played) -> None:
        """Only games that may still count keep theirs: a response's states are half a megabyte."""
        ended.append((place[game.key], game.key, str(game.outcome)))
        may_count = _first_of_each(((key, end) for _, key, end in sorted(ended)), batch.room)
        for _, key, _ in ended:
            if key not in may_count:
                played.states.pop(key, None)

    sampling = settings.sampling
    played = play_all(lane, settings, sampling, played_games, slots, layers, keep_states)
    counted = _first_of_each(((g.key, str(g.outcome)) for g in played_games), batch.room)
    states = {
        d["key"]: played.states[d["game"]][d["key"]]
        for d in played.decisions
        if d["game"] in counted and carried_out(d["decision"], d["bet"])
    }
    activations = activations_table(lane, states, settings.layers, settings.gate)
    common = {
        "experiment": "pathway",
        "model": lane.loaded.spec.id,
        "seed": lane.study.seed,
    }
    of_game = played.by_game()
    rows = [
        game_row(game, repetition, of_game[game.key], common)
        for game, (_, repetition) in zip(played_games, batch.ids, strict=True)
    ]
    facts = {"experiment": "pathway"}
    for kind, table in (
        ("activations", activations),
        ("decisions", table_of("decisions", decision_rows(played, played_games, common))),
    ):
        store.commit(kind, unit.key, table, identity=unit.identity, facts=facts)
    measured = {"device": str(lane.loaded.device), "responses": len(played.decisions)}
    return unit.commit(store, table_of("games", rows), began, measured)


def carried_out(decision: str, bet: float | None) -> bool:
    """Whether the game went on with this response.

    A bet that is not on offer is asked again like a response without a decision, and in its place
    counts what the model then decides.

    Args:
        decision: bet, stop or none, as read.
        bet: Dollars that were bet, or null.
    """
    return decision == "stop" or (decision == "bet" and bool(pd.notna(bet)))


def _game(lane: Lane, condition: Condition, repetition: int) -> SlotMachine:
    settings = lane.study.pathway
    return SlotMachine(
        _key(lane.alias, condition, repetition),
        condition,
        lane.study.seed,
        prompt=settings.prompt,
        max_rounds=settings.max_rounds,
        as_original=as_original(settings.reader),
    )


def progress(study: Study, store: Store) -> Progress:
    """How many games are played and what is still short."""
    keys = [unit.key for unit in done_units(study, store)]
    outcomes = store.read("games", keys)["outcome"].to_pylist() if keys else []
    wanted = _room(study)
    got = {outcome: min(outcomes.count(outcome), n) for outcome, n in wanted.items()}
    shortfall = tuple(
        f"{got[outcome]} of {n} games that end in {outcome.replace('_', ' ')}, "
        f"after {len(outcomes)} games"
        for outcome, n in wanted.items()
        if got[outcome] < n
    )
    return Progress(
        games=len(outcomes),
        bankruptcies=got[Outcome.BANKRUPTCY],
        stops=got[Outcome.VOLUNTARY_STOP],
        shortfall=shortfall,
    )


class Recorded(NamedTuple):
    """The games that count, what was decided in them, and the activations at each decision."""

    games: pd.DataFrame
    decisions: pd.DataFrame
    activations: pd.DataFrame


def recorded(study: Study, store: Store) -> Recorded:
    """What the analyses of the pathway start from; one decision a round.

    Raises:
        Incomplete: A batch is still to be played.
    """
    if (missing := next_unit(study, store)) is not None:
        raise Incomplete(f"Batch {missing.slug} of the pathway is not played.")
    keys = [unit.key for unit in done_units(study, store)]
    every = store.read("games", keys).to_pandas()
    games = every[every["key"].isin(_counting(study, every))]
    decisions = store.read("decisions", keys).to_pandas()
    responses = zip(decisions["decision"], decisions["bet"], strict=True)
    decisive = np.array([carried_out(*response) for response in responses], dtype=bool)
    return Recorded(
        games,
        decisions[decisive & decisions["game"].isin(games["key"])],
        store.read("activations", keys).to_pandas(),
    )


class Analysed(NamedTuple):
    """The two parts of the pathway analysis, and what could not be evaluated."""

    features: PartRef
    curve: PartRef
    notes: list[str]


def analyse(study: Study, store: Store) -> Analysed:
    """Top features by layer and the curve of the decision, over the games that count.

    Raises:
        Incomplete: A batch is still to be played.
        BadInput: The games that count hold no stop or no bet.
    """
    settings = study.pathway
    found = recorded(study, store)
    result = pathway(
        found.decisions,
        found.games,
        found.activations,
        layers=list(settings.layers),
        top=settings.top_features,
    )
    identity, key = _analysis_identity(study, store), analysis_key(study, store)
    return Analysed(
        store.commit("pathway", key, table_of("pathway", result.features), identity=identity),
        store.commit(
            "pathway_curve", key, table_of("pathway_curve", result.curve), identity=identity
        ),
        result.notes,
    )


def analysis_key(study: Study, store: Store) -> str:
    """Content key of the analysis of the batches played so far."""
    return part_key(study.pathway.model, _analysis_identity(study, store))


def _analysis_identity(study: Study, store: Store) -> dict[str, Any]:
    keys = [unit.key for unit in done_units(study, store)]
    return {"games": keys, "top": study.pathway.top_features}


def _counting(study: Study, every: pd.DataFrame) -> set[str]:
    """Keys of the games that fill the quotas, over all batches in order of play."""
    settings = study.pathway
    conditions = settings.resolved_conditions
    place = {
        _key(settings.model, conditions[n % len(conditions)], n // len(conditions)): n
        for n in range(settings.max_games)
    }
    ordered = sorted(zip(every["key"], every["outcome"], strict=True), key=lambda g: place[g[0]])
    return _first_of_each(ordered, _room(study))


def _room(study: Study) -> dict[str, int]:
    return {
        str(Outcome.BANKRUPTCY): study.pathway.bankruptcies,
        str(Outcome.VOLUNTARY_STOP): study.pathway.stops,
    }


def _first_of_each(games: Iterable[tuple[str, str]], room: dict[str, int]) -> set[str]:
    """Keys of the games (key, outcome) that find room, in the order given."""
    left = dict(room)
    counted = set()
    for key, outcome in games:
        if left.get(outcome, 0) > 0:
            left[outcome] -= 1
            counted.add(key)
    return counted


def _key(alias: str, condition: Condition, repetition: int) -> str:
    return f"{alias}/pathway/{condition.key}/{repetition:04d}"
