"""Whole games with a feature clamped: every response is drawn with the same patch in place."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pitboss.analysis.clamped_games import BASELINE, DIRECTION, FEATURE
from pitboss.engine import Patch
from pitboss.engine.controls import random_change
from pitboss.experiments.clamped_games.features import Chunk
from pitboss.experiments.clamped_games.settings import POSITIONS, ClampedGamesSettings
from pitboss.experiments.patching.patches import bank_patch
from pitboss.experiments.patching.settings import PatchingSettings
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.playing import as_original, decision_rows, game_row, play_all
from pitboss.experiments.runtime.unit import Outcome
from pitboss.games.slot_machine import SlotMachine


@dataclass(frozen=True)
class Arm:
    """What is patched in all responses of some games.

    Attributes:
        role: baseline, feature or random_direction.
        arm: baseline, or the name of the value.
        patch: None in the baseline.
    """

    role: str
    arm: str
    patch: Patch | None

    @property
    def name(self) -> str:
        """Where its games stand in keys."""
        if self.patch is None:
            return BASELINE
        return f"L{self.patch.layer:02d}/F{self.patch.feature}/{self.role}/{self.arm}"

    @property
    def columns(self) -> dict[str, Any]:
        """What the kind `persistent` says of it."""
        described: dict[str, Any] = {"role": self.role, "arm": self.arm}
        if self.patch is None:
            return described
        name = f"L{self.patch.layer}/F{self.patch.feature}"
        return described | {
            "layer": self.patch.layer,
            "feature": self.patch.feature,
            "matched": name if self.role == DIRECTION else None,
            "value": self.patch.value,
        }


def play_chunk(
    context: ModelContext,
    settings: ClampedGamesSettings,
    patching: PatchingSettings,
    chunk: Chunk | None,
    slots: int | None = None,
) -> Outcome:
    """Play all games of one chunk, or the baseline's.

    Args:
        patching: How a feature is patched, but for mode and positions.
        chunk: None for the baseline.

    Returns:
        Rows of the kinds `persistent` and `decisions`.
    """
    games = {
        game.key: (arm, repetition, game)
        for arm in arms(context.study.seed, settings, patching, chunk)
        for repetition, game in games_of(context, settings, arm.name)
    }
    patches = {key: (arm.patch,) for key, (arm, _, _) in games.items() if arm.patch}
    machines = [game for _, _, game in games.values()]
    played = play_all(context, settings, settings.sampling, machines, slots, patches=patches)
    common = {
        "experiment": "persistent",
        "model": context.loaded.spec.id,
        "seed": context.study.seed,
    }
    of_game, width = played.by_game(), context.width_of(own_prompts=True)
    return Outcome(
        {
            "decisions": decision_rows(played, machines, common),
            "persistent": [
                {**game_row(game, repetition, of_game[key], common), **arm.columns}
                | {"game": game.draws}
                for key, (arm, repetition, game) in games.items()
            ],
        },
        {
            "slots": min(slots or width, width),
            "device": str(context.loaded.device),
            "responses": len(played.decisions),
        },
    )


def games_of(
    context: ModelContext, settings: ClampedGamesSettings, arm: str
) -> Iterator[tuple[int, SlotMachine]]:
    """The games of one arm, each with its repetition; those of the same name have the same luck."""
    for condition in settings.resolved_conditions:
        for repetition in range(settings.repetitions):
            name = f"{condition.key}/{repetition:03d}"
            game = SlotMachine(
                f"{context.alias}/persistent/{arm}/{name}",
                condition,
                context.study.seed,
                prompt=settings.prompt,
                max_rounds=settings.max_rounds,
                as_original=as_original(settings.reader),
                draws=f"{context.alias}/persistent/{name}",
            )
            yield repetition, game


def arms(
    seed: int, settings: ClampedGamesSettings, patching: PatchingSettings, chunk: Chunk | None
) -> Iterator[Arm]:
    """Each feature at each value, and where it is controlled the same along a random direction."""
    if chunk is None:
        yield Arm(BASELINE, BASELINE, None)
        return
    bank = chunk.bank
    clamped = patching.model_copy(update={"mode": "delta", "positions": POSITIONS})
    for i, name in enumerate(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)):
        for value in settings.values:
            patch = bank_patch(bank, i, float(bank.values[value][i]), clamped)
            yield Arm(FEATURE, value, patch)
            if name in chunk.controlled:
                yield Arm(DIRECTION, value, _turned(seed, patch))


def _turned(seed: int, patch: Patch) -> Patch:
    """The same patch along a random direction; one direction a feature, whatever its value."""
    name = f"persistent/L{patch.layer}/F{patch.feature}"
    [turned] = random_change([patch], seed=seed, name=name)
    return turned
