"""Quotas filled by the first games in order, honest shortfalls, activations of the right tokens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from pitboss.errors import Incomplete
from pitboss.experiments import pathway
from pitboss.experiments.lane import Lane
from pitboss.experiments.study import open_store
from pitboss.games.menu import Menu
from pitboss.games.reading import READERS, Finish, Reading
from pitboss.games.reading.menu_reader import MenuReader
from pitboss.models.catalogue import sae_release
from pitboss.saes.loading import _load_with_sae_lens
from tests.experiments.small import ALIAS, LAYERS, Whole, parquet_bytes, small_study


@pytest.fixture(scope="module")
def table(whole: Whole) -> pd.DataFrame:
    """The pathway's games in the order in which they were to be played."""
    keys = [unit.key for unit in pathway.done_units(whole.study, whole.store)]
    games = whole.store.read("games", keys).to_pandas()
    conditions = [c.key for c in whole.study.pathway.resolved_conditions]
    place = games["condition"].map(conditions.index) + len(conditions) * games["repetition"]
    return games.assign(place=place).sort_values("place").reset_index(drop=True)


def counting(games: pd.DataFrame, quota: dict[str, int]) -> list[str]:
    return [
        key
        for outcome, number in quota.items()
        for key in games[games["outcome"] == outcome]["key"].head(number)
    ]


def test_the_first_games_in_order_fill_the_quotas(whole: Whole, table: pd.DataFrame) -> None:
    assert table["place"].tolist() == list(range(len(table)))
    counted = counting(table, {"bankruptcy": 5, "voluntary_stop": 6})
    assert len(counted) == 11 < len(table)
    decisions = whole.store.read("decisions").to_pandas().set_index("key")
    with_states = set(whole.store.read("activations")["decision"].to_pylist())
    assert {decisions.loc[key, "game"] for key in with_states} == set(counted)
    mine = decisions[decisions["game"].isin(counted)]
    assert with_states == set(mine.index[mine["bet"].notna() | (mine["decision"] == "stop")])
    # One of every round: what was asked again is no decision, also where it read as a bet.
    assert len(with_states) == len(mine.groupby(["game", "round"]))
    now = pathway.progress(whole.study, whole.store)
    assert (now.bankruptcies, now.stops, now.shortfall) == (5, 6, ())
    assert pathway.next_unit(whole.study, whole.store) is None


def test_activations_are_those_of_sae_lens_at_the_last_prompt_token(whole: Whole) -> None:
    activations = whole.store.read("activations").to_pandas()
    decisions = whole.store.read("decisions").to_pandas().set_index("key")
    keys = sorted(set(activations["decision"]))[::4]
    assert len(keys) > 5
    loaded, outputs = whole.lane.loaded, {}
    hooks = [
        block.register_forward_hook(lambda m, i, out, n=n: outputs.update({n: out[0, -1]}))
        for n, block in enumerate(loaded.model.model.layers)
    ]
    release = sae_release(whole.study.models[ALIAS].sae)
    saes = {n: _load_with_sae_lens(release, release.sae_id_of(n))[0] for n in LAYERS}
    for key in keys:
        with torch.no_grad():
            ids = torch.tensor([loaded.encode(decisions.loc[key, "prompt_text"])])
            loaded.model(ids, use_cache=False)
        for layer, sae in saes.items():
            expected = sae.encode(outputs[layer][None])[0].detach().numpy()
            mine = activations[(activations["decision"] == key) & (activations["layer"] == layer)]
            found = np.zeros_like(expected)
            found[mine["feature"]] = mine["value"]
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * expected.max())
            assert (mine["value"] > 0).all() and len(mine) > 3
    for hook in hooks:
        hook.remove()


def test_the_curve_counts_every_decision_of_the_games_that_count(
    whole: Whole, table: pd.DataFrame
) -> None:
    counted = counting(table, {"bankruptcy": 5, "voluntary_stop": 6})
    curve = whole.store.read("pathway_curve").to_pandas()
    assert set(curve["outcome"]) <= {"bankruptcy", "voluntary_stop"}
    last = curve[curve["before_end"] == 0]
    assert (last.groupby("layer")["decisions"].sum() <= len(counted)).all()
    top = whole.store.read("pathway").to_pandas()
    assert (top.groupby("layer").size() <= whole.study.pathway.top_features).all()


def test_a_quota_the_cap_leaves_open_is_reported_and_slots_change_no_byte(
    whole: Whole, tmp_path: Path
) -> None:
    study = small_study(
        pathway={"bankruptcies": 8, "stops": 2, "max_games": 12, "batch": 8, "max_rounds": 3}
    )
    lane = Lane(study, ALIAS, whole.lane.loaded, [])
    written = []
    for slots in (None, 5):
        store = open_store(study, tmp_path / str(slots))
        played = []
        while unit := pathway.next_unit(study, store):
            if not played:
                with pytest.raises(Incomplete, match="is not played"):
                    pathway.analyse(study, store)
            pathway.run(lane, store, unit, slots)
            played.append(unit.rows)
        assert played == [8, 4]  # the cap ends the last batch early
        now = pathway.progress(study, store)
        outcomes = store.read("games")["outcome"].to_pylist()
        assert now.games == len(outcomes) == 12
        assert now.bankruptcies == outcomes.count("bankruptcy") < 8
        [sentence] = [text for text in now.shortfall if "bankruptcy" in text]
        assert sentence == (f"{now.bankruptcies} of 8 games that end in bankruptcy, after 12 games")
        pathway.analyse(study, store)
        written.append(parquet_bytes(store))
    assert len(written[0]) == 8
    assert written[0] == written[1]


class Forgetful(MenuReader):
    """Leaves the amount of some bets open, as in `Final Decision: Bet` under a range of stakes."""

    def read(self, text: str, menu: Menu, finish: Finish) -> Reading:
        reading = super().read(text, menu, finish)
        return (
            replace(reading, amount=None) if reading.decision == "bet" and "I" in text else reading
        )


def test_a_bet_that_is_asked_again_is_no_decision_of_the_pathway(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "menu", Forgetful())
    few = {"bankruptcies": 2, "stops": 16, "max_games": 24, "batch": 24, "layers": [1]}
    study = small_study(pathway={**few, "max_rounds": 3, "retries": 20})
    store, lane = open_store(study, tmp_path), Lane(study, ALIAS, whole.lane.loaded, [])
    while unit := pathway.next_unit(study, store):
        pathway.run(lane, store, unit)
    decisions = store.read("decisions").to_pandas().set_index("key")
    with_states = set(store.read("activations")["decision"].to_pylist())
    counted = decisions[decisions["game"].isin(decisions.loc[sorted(with_states), "game"])]
    again = counted[(counted["decision"] == "bet") & counted["bet"].isna()]
    assert len(again) > 5 and not with_states & set(again.index)
    # In its place counts what the game went on with: one response a round.
    assert len(with_states) == len(counted.groupby(["game", "round"]))
    pathway.analyse(study, store)
    assert store.read("pathway_curve").to_pandas()["decisions"].sum() == len(with_states)
