"""What is stored of a game is enough to play it again by hand, and says the same."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from pitboss.engine import EngineConfig
from pitboss.experiments.registry import parse_study, plan_of
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.context import ModelContext, open_context
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.games.conditions import Condition
from pitboss.games.reading import reader
from pitboss.games.slot_machine import SlotMachine
from tests.experiments.small import (
    ALIAS,
    Whole,
    on,
    parquet_bytes,
    settings,
    small_plan,
    small_study,
)

FIRST = {"voluntary_stop": "stop", "bankruptcy": "bet", "round_limit": "bet"}


@pytest.fixture(scope="module")
def played(whole: Whole) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Games and decisions of the first experiment."""
    keys = [unit.key for unit in whole.plan["games"].batches(ALIAS)]
    read = whole.store.read
    return read("games", keys).to_pandas(), read("decisions", keys).to_pandas()


def play(plan: Plan, context: ModelContext, slots: int | None = None) -> None:
    """Play all games of a plan."""
    for unit in plan["games"].batches(context.alias):
        carry_out(plan, unit, lambda _: on(context, plan), slots)


def wins(seed: int, game: str, number: int) -> bool:
    """The slot machine's draw, written out."""
    words = hashlib.blake2b(f"{seed}\x1f{game}\x1f{number}".encode(), digest_size=8).digest()
    return (int.from_bytes(words, "big") >> 11) / 2**53 < 0.3


def test_every_game_follows_from_its_responses(
    whole: Whole, played: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    table, decisions = played
    menu = reader("menu")
    assert set(table["outcome"]) >= {"voluntary_stop", "bankruptcy", "round_limit"}
    for game in table.itertuples():
        machine = SlotMachine(
            game.key, Condition.parse(game.condition), whole.study.seed, max_rounds=8
        )
        mine = decisions[decisions["game"] == game.key].sort_values(["round", "attempt"])
        for response in mine.itertuples():
            prompt = machine.prompt()
            assert response.prompt_text == prompt.text
            assert response.balance == machine.state.balance
            reading = menu.read(response.response, prompt.menu, response.finish)
            assert reading.decision == response.decision
            assert (reading.start, reading.end) == (response.read_start, response.read_end)
            assert reading.reason == (None if pd.isna(response.reason) else response.reason)
            assert reading.amount == (None if pd.isna(response.amount) else response.amount)
            if machine.playable(reading):
                machine.step(reading)
            assert response.balance_after == machine.state.balance
        assert str(machine.outcome) == game.outcome
        assert machine.state.balance == game.final_balance
        assert len(machine.state.rounds) == game.rounds


def test_the_money_adds_up_without_the_slot_machine(
    whole: Whole, played: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    table, decisions = played
    for game in table.itertuples():
        mine = decisions[decisions["game"] == game.key].sort_values(["round", "attempt"])
        bets = mine.dropna(subset=["bet"])
        assert bets["round"].tolist() == list(range(1, game.rounds + 1))
        balance = 100
        for bet in bets.itertuples():
            assert 0 < bet.bet <= balance == bet.balance
            assert bet.won == wins(whole.study.seed, game.key, bet.round)
            balance += 2 * bet.bet if bet.won else -bet.bet
            assert bet.balance_after == balance
        assert balance == game.final_balance
        assert (game.outcome == "bankruptcy") == (balance == 0)
        assert mine["decision"].iloc[-1] == FIRST[game.outcome]
        assert (game.outcome == "round_limit") <= (game.rounds == 8)
        assert game.total_bet == bets["bet"].sum() and game.wins == bets["won"].sum()
        assert game.responses == len(mine)
        assert game.retries == (mine["attempt"] > 0).sum() == len(mine) - mine["round"].nunique()
        assert mine["noise"].is_unique


def test_every_condition_is_played_as_often_as_asked(
    whole: Whole, played: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    table, _ = played
    wanted = {condition.key for condition in whole.plan["games"].settings.resolved_conditions}
    assert table.groupby("condition")["repetition"].apply(sorted).to_dict() == {
        key: [0, 1] for key in wanted
    }


def test_without_retries_the_same_games_are_aborted_where_they_were_asked_again(
    whole: Whole, played: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    table, decisions = played
    again = table[table["retries"] > 0]
    assert len(again) > 2
    conditions = sorted(again["condition"])[:4]
    plan = small_plan(tmp_path, games={"retries": 0, "conditions": sorted(set(conditions))})
    play(plan, whole.context)
    aborted = plan.store.read("games").to_pandas().set_index("key")
    tried = plan.store.read("decisions").to_pandas()
    asked_again = again[again["condition"].isin(conditions)]["key"]
    assert set(aborted.index[aborted["outcome"] == "aborted"]) == set(asked_again)
    for key in asked_again:
        game = aborted.loc[key]
        assert game["reason"].startswith("no decision in 1 responses, the last one ")
        assert game["retries"] == 0
        failed = tried[tried["game"] == key].sort_values("round").iloc[-1]
        before = decisions[(decisions["game"] == key) & (decisions["attempt"] == 1)]
        assert failed["round"] == before["round"].min()
        assert pd.isna(failed["bet"]) and failed["balance_after"] == failed["balance"]
        if failed["decision"] == "none":
            assert game["reason"].endswith(failed["reason"])
    others = aborted[aborted["outcome"] != "aborted"]
    assert others["reason"].isna().all()
    before = table.set_index("key").loc[others.index]
    assert (before["final_balance"] == others["final_balance"]).all()


def test_games_in_flight_change_no_byte(whole: Whole, tmp_path: Path) -> None:
    few = {"conditions": "fixed", "repetitions": 1, "max_rounds": 2}
    written = []
    for slots in (None, 9):
        plan = small_plan(tmp_path / str(slots), games=few)
        play(plan, whole.context, slots)
        written.append(parquet_bytes(plan.store))
    assert len(written[0]) == 2
    assert written[0] == written[1]


def test_the_chat_model_plays_too(tmp_path: Path) -> None:
    both = [ALIAS, "gemma"]
    made = settings(games={"models": both, "conditions": ["variable/GM"], "max_rounds": 3})
    made["models"]["gemma"] = {"id": "pitboss/lab-gemma", "sae": "pitboss/lab-gemma-scope"}
    study = parse_study(made)
    plan = plan_of(study, open_store(study, tmp_path))
    context = open_context(study, "gemma", "cpu")
    carry_out_all(plan, plan["games"], "gemma", lambda _: context)
    decisions = plan.store.read("decisions").to_pandas()
    assert (decisions["decision"] != "none").mean() > 0.8
    assert set(plan.store.read("games")["outcome"].to_pylist()) <= set(FIRST) | {"aborted", "stuck"}


def test_full_responses_go_on_after_the_decision_and_say_the_same(
    whole: Whole, tmp_path: Path
) -> None:
    # The lab's models stop right behind their decision. This reader is certain at a keyword,
    # and at this temperature there are some in the middle.
    few = {"conditions": "variable", "repetitions": 1, "max_rounds": 1, "reader": "original-exp2"}
    few["sampling"] = {"temperature": 2.0, "max_new_tokens": 48}
    found = []
    for full in (False, True):
        plan = small_plan(tmp_path / str(full), games={**few, "full_response": full})
        play(plan, whole.context)
        found.append(plan.store.read("decisions").to_pandas().set_index("key"))
    short, long = found
    assert "decided" in set(short["finish"]) and "decided" not in set(long["finish"])
    assert list(short.index) == list(long.index)
    assert (long["n_tokens"] >= short["n_tokens"]).all()
    assert long["n_tokens"].sum() > short["n_tokens"].sum()
    for key, row in short.iterrows():
        assert long.loc[key, "response"].startswith(row["response"])
    same = ["decision", "amount", "reason", "read_start", "read_end", "bet", "won", "balance_after"]
    pd.testing.assert_frame_equal(short[same], long[same])


def test_what_ends_a_response_and_the_width_are_part_of_the_keys() -> None:
    def keys(**changes: dict[str, object]) -> dict[str, str]:
        plan = plan_of(small_study(**changes), None)
        units = {
            "games": plan["games"].batches(ALIAS)[0],
            "pathway": next(plan["pathway"].batches()),
            "features": plan["features"].sums[0],
            "patching": plan["patching"].baseline_unit(),
        }
        return {name: unit.key for name, unit in units.items()}

    def changed(**changes: dict[str, object]) -> set[str]:
        return {name for name, key in keys(**changes).items() if key != before[name]}

    before = keys()
    own_prompts = {"games", "pathway", "features"}
    assert changed(games={"full_response": False}, pathway={"full_response": False}) == set()
    assert changed(games={"full_response": True}) == {"games", "features"}
    assert changed(pathway={"full_response": True}) == {"pathway"}
    assert changed(engine={"games_width": None}) == changed(engine={"games_width": 128}) == set()
    assert changed(engine={"games_width": 64}) == own_prompts
    assert changed(engine={"width": 64}) == own_prompts | {"patching"}
    assert changed(engine={"width": 64, "games_width": 128}) == {"patching"}


def test_games_are_played_at_their_own_width(whole: Whole, tmp_path: Path) -> None:
    plan = small_plan(
        tmp_path,
        engine={"games_width": 16},
        games={"conditions": ["variable/GM"], "repetitions": 2, "max_rounds": 2},
    )
    context, widths = on(whole.context, plan), []
    for slots in (None, 128, 5):
        width = context.width_of(own_prompts=True)
        config = EngineConfig(width=width, prompt_capacity=64, token_capacity=4, slots=slots)
        engine = context.engine(config)
        widths.append(sum(engine.slots))
    assert widths == [16, 16, 5]
    play(plan, whole.context, 128)
    assert plan.store.records("games")[0].facts["slots"] == 16
