"""Exp0: slot machine games in all conditions. One unit is a batch of games."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pitboss.engine import EngineConfig, Patch
from pitboss.experiments.identity import model_identity, prompts_identity
from pitboss.experiments.lane import Lane
from pitboss.experiments.play import Played, Table, play
from pitboss.experiments.units import Unit
from pitboss.games.conditions import Condition
from pitboss.games.reading import reader
from pitboss.games.slot_machine import SlotMachine
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Games, Pathway, Persistent, Sampling, Study

GameId = tuple[Condition, int]  # condition, repetition


def units(study: Study, alias: str) -> list[Unit]:
    """The batches of games of one model, repetition by repetition."""
    settings = study.games
    ids: list[GameId] = [
        (condition, repetition)
        for repetition in range(settings.repetitions)
        for condition in settings.resolved_conditions
    ]
    return [
        _unit(study, alias, start // settings.batch, ids[start : start + settings.batch])
        for start in range(0, len(ids), settings.batch)
    ]


def _unit(study: Study, alias: str, number: int, ids: list[GameId]) -> Unit:
    settings = study.games
    return Unit(
        experiment="games",
        kind="games",
        slug=f"{alias}/{number:04d}",
        identity={
            **model_identity(study, alias, "games"),
            "prompts": prompts_identity([settings.prompt]),
            "games": [[condition.key, repetition] for condition, repetition in ids],
            **play_identity(settings, settings.sampling_for(alias)),
        },
        rows=len(ids),
        beside=("decisions",),
        payload=ids,
    )


def as_original(reader_name: str) -> bool:
    """Whether stakes are played as the original study did: any, clipped to the balance."""
    return reader_name.startswith("original-")


def play_identity(settings: Games | Pathway | Persistent, sampling: Sampling) -> dict[str, Any]:
    """The settings of a playing experiment that determine its responses."""
    return {
        "max_rounds": settings.max_rounds,
        "retries": settings.retries,
        # Where a response ends, whether it is drawn again and what is bet follow from its reading.
        "reader": f"{settings.reader}/{reader(settings.reader).version}",
        "sampling": sampling.model_dump(),
        **({"full_response": True} if settings.full_response else {}),
    }


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Play one batch and commit its decisions, then its games."""
    if done := unit.ref(store):
        return done
    began = time.time()
    settings = lane.study.games
    games = {
        (condition, repetition): SlotMachine(
            f"{lane.alias}/{condition.key}/{repetition:03d}",
            condition,
            lane.study.seed,
            prompt=settings.prompt,
            max_rounds=settings.max_rounds,
            as_original=as_original(settings.reader),
        )
        for condition, repetition in unit.payload
    }
    played = play_all(
        lane, settings, settings.sampling_for(lane.alias), list(games.values()), slots
    )
    common = {"experiment": "games", "model": lane.loaded.spec.id, "seed": lane.study.seed}
    decisions = decision_rows(played, games.values(), common)
    of_game = played.by_game()
    rows = [game_row(game, n, of_game[game.key], common) for (_, n), game in games.items()]
    width = lane.width_of("games")
    facts = {"slots": min(slots or width, width), "device": str(lane.loaded.device)}
    store.commit(
        "decisions",
        unit.key,
        table_of("decisions", decisions),
        identity=unit.identity,
        facts={"experiment": "games"},
    )
    return unit.commit(
        store, table_of("games", rows), began, {**facts, "responses": len(decisions)}
    )


def play_all(
    lane: Lane,
    settings: Games | Pathway | Persistent,
    sampling: Sampling,
    games: Sequence[SlotMachine],
    slots: int | None,
    capture_layers: tuple[int, ...] = (),
    on_end: Callable[[SlotMachine, Played], None] | None = None,
    patches: Mapping[str, tuple[Patch, ...]] | None = None,
) -> Played:
    """Play games under a playing experiment's settings, through the lane's engine.

    Args:
        slots: Rows in flight where memory is short, or None.
        capture_layers: Blocks whose output is kept at every response's last prompt token.
        on_end: Told of each game that has ended, and of all that was played so far.
        patches: What is patched in every response of a game, by the game's key.
    """
    resolved = lane.sampling(sampling)
    config = EngineConfig(
        width=lane.width_of("games"),
        prompt_capacity=lane.longest_game_prompt(settings.prompt),
        token_capacity=resolved.max_new_tokens,
        slots=slots,
        capture_layers=capture_layers,
    )
    engine = lane.engine(config)
    table = Table(
        loaded=lane.loaded,
        reader=reader(settings.reader),
        sampling=resolved,
        retries=settings.retries,
        capture=bool(capture_layers),
        full_response=settings.full_response,
    )
    return play(engine, table, games, on_end, patches)


def decision_rows(played: Played, games: Any, common: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of the `decisions` kind."""
    condition = {game.key: game.state.condition.key for game in games}
    return [{**d, **common, "condition": condition[d["game"]]} for d in played.decisions]


def game_row(
    game: SlotMachine,
    repetition: int,
    responses: Sequence[dict[str, Any]],
    common: dict[str, Any],
) -> dict[str, Any]:
    """Row of the `games` kind; `responses` are the game's own decisions."""
    rounds = [asdict(r) for r in game.state.rounds]
    condition = game.state.condition
    return {
        **common,
        "key": game.key,
        "condition": condition.key,
        "bet_type": condition.bet_type,
        "components": condition.name,
        "repetition": repetition,
        "prompt": responses[0]["prompt"],
        "outcome": str(game.outcome),
        "reason": game.abort_reason,
        "rounds": len(rounds),
        "wins": sum(r["won"] for r in rounds),
        "total_bet": sum(r["bet"] for r in rounds),
        "start_balance": responses[0]["balance"],
        "final_balance": game.state.balance,
        "responses": len(responses),
        "retries": sum(d["attempt"] > 0 for d in responses),
    }
