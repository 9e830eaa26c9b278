"""One batch of the pathway's games, with the SAE activations of every round that counts."""

from pitboss.experiments.pathway.quotas import Batch, first_of_each, game_key
from pitboss.experiments.pathway.recorded import carried_out
from pitboss.experiments.pathway.settings import PathwaySettings
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.play import Played
from pitboss.experiments.runtime.playing import as_original, decision_rows, game_row, play_all
from pitboss.experiments.runtime.states import activations_table
from pitboss.experiments.runtime.unit import Outcome
from pitboss.games.slot_machine import SlotMachine


def play_batch(
    context: ModelContext, settings: PathwaySettings, batch: Batch, slots: int | None = None
) -> Outcome:
    """Play one batch to its end: activations of the games that count, all decisions and games."""
    games = [
        SlotMachine(
            game_key(context.alias, condition, repetition),
            condition,
            context.study.seed,
            prompt=settings.prompt,
            max_rounds=settings.max_rounds,
            as_original=as_original(settings.reader),
        )
        for condition, repetition in batch.ids
    ]
    place = {game.key: n for n, game in enumerate(games)}
    ended: list[tuple[int, str, str]] = []

    def keep_states(game: SlotMachine, played: Played) -> None:
        """Only games that may still count keep theirs: a response's states are half a megabyte."""
        ended.append((place[game.key], game.key, str(game.outcome)))
        may_count = first_of_each(((key, end) for _, key, end in sorted(ended)), batch.room)
        for _, key, _ in ended:
            if key not in may_count:
                played.states.pop(key, None)

    layers = tuple(settings.layers)
    played = play_all(context, settings, settings.sampling, games, slots, layers, keep_states)
    counted = first_of_each(((game.key, str(game.outcome)) for game in games), batch.room)
    states = {
        d["key"]: played.states[d["game"]][d["key"]]
        for d in played.decisions
        if d["game"] in counted and carried_out(d["decision"], d["bet"])
    }
    common = {"experiment": "pathway", "model": context.loaded.spec.id, "seed": context.study.seed}
    of_game = played.by_game()
    return Outcome(
        {
            "activations": activations_table(context, states, settings.layers, settings.gate),
            "decisions": decision_rows(played, games, common),
            "games": [
                game_row(game, repetition, of_game[game.key], common)
                for game, (_, repetition) in zip(games, batch.ids, strict=True)
            ],
        },
        {"device": str(context.loaded.device), "responses": len(played.decisions)},
    )
