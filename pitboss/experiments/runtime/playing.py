"""Games under an experiment's settings: through a model's engine, and as rows of the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pitboss.engine import EngineConfig, Patch
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.identity import Playing
from pitboss.experiments.runtime.play import Played, Table, play
from pitboss.games.reading import reader
from pitboss.games.slot_machine import SlotMachine
from pitboss.studies.sampling import Sampling


def as_original(reader_name: str) -> bool:
    """Whether stakes are played as the original study did: any, clipped to the balance."""
    return reader_name.startswith("original-")


def play_all(
    context: ModelContext,
    settings: Playing,
    sampling: Sampling,
    games: Sequence[SlotMachine],
    slots: int | None,
    capture_layers: tuple[int, ...] = (),
    on_end: Callable[[SlotMachine, Played], None] | None = None,
    patches: Mapping[str, tuple[Patch, ...]] | None = None,
) -> Played:
    """Play games under a playing experiment's settings, through the context's engine.

    Args:
        slots: Rows in flight where memory is short, or None.
        capture_layers: Blocks whose output is kept at every response's last prompt token.
        on_end: Told of each game that has ended, and of all that was played so far.
        patches: What is patched in every response of a game, by the game's key.
    """
    resolved = context.sampling(sampling)
    config = EngineConfig(
        width=context.width_of(own_prompts=True),
        prompt_capacity=context.longest_game_prompt(settings.prompt),
        token_capacity=resolved.max_new_tokens,
        slots=slots,
        capture_layers=capture_layers,
    )
    engine = context.engine(config)
    table = Table(
        loaded=context.loaded,
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
