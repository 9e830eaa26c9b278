"""One batch of games, played to their ends."""

from pitboss.experiments.games.settings import GamesSettings
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.playing import as_original, decision_rows, game_row, play_all
from pitboss.experiments.runtime.unit import Outcome
from pitboss.games.conditions import Condition
from pitboss.games.slot_machine import SlotMachine


def play_batch(
    context: ModelContext,
    settings: GamesSettings,
    ids: list[tuple[Condition, int]],
    slots: int | None = None,
) -> Outcome:
    """Play some games, each with its condition and repetition; their decisions and the games."""
    games = {
        (condition, repetition): SlotMachine(
            f"{context.alias}/{condition.key}/{repetition:03d}",
            condition,
            context.study.seed,
            prompt=settings.prompt,
            max_rounds=settings.max_rounds,
            as_original=as_original(settings.reader),
        )
        for condition, repetition in ids
    }
    sampling = settings.sampling_for(context.alias)
    played = play_all(context, settings, sampling, list(games.values()), slots)
    common = {"experiment": "games", "model": context.loaded.spec.id, "seed": context.study.seed}
    of_game, width = played.by_game(), context.width_of(own_prompts=True)
    return Outcome(
        {
            "decisions": decision_rows(played, games.values(), common),
            "games": [
                game_row(game, repetition, of_game[game.key], common)
                for (_, repetition), game in games.items()
            ],
        },
        {
            "slots": min(slots or width, width),
            "device": str(context.loaded.device),
            "responses": len(played.decisions),
        },
    )
