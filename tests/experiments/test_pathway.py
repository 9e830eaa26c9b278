"""Quotas filled by the first games in order, honest shortfalls, activations of the right tokens."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from pitboss.analysis.attribution import agreement
from pitboss.engine.screening import Screen
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.pathway import attribution, decoding
from pitboss.experiments.pathway.experiment import Pathway
from pitboss.experiments.pathway.recorded import recorded
from pitboss.experiments.runtime.artifacts import FigureArtifact, NoteArtifact, TableArtifact
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.choices import choice_tokens
from pitboss.experiments.runtime.plan import Plan
from pitboss.games.conditions import ALL_CONDITIONS, Condition
from pitboss.games.menu import Menu
from pitboss.games.prompts import render
from pitboss.games.reading import READERS, Finish, Reading
from pitboss.games.reading.menu_reader import MenuReader
from pitboss.models.catalogue import sae_release
from pitboss.models.loading import load_model
from pitboss.saes.loading import _load_with_sae_lens
from pitboss.saes.planted import planted
from tests.experiments.small import ALIAS, LAYERS, Whole, on, parquet_bytes, small_plan

LINE = "\nFinal Decision:"
ANSWERS = {"stop": LINE + " Stop", "bet": LINE + " Bet"}


def pathway_of(plan: Plan) -> Pathway:
    experiment = plan["pathway"]
    assert isinstance(experiment, Pathway)
    return experiment


def batches(plan: Plan) -> list[str]:
    """Keys of all batches, which must have been played."""
    return [unit.key for unit in pathway_of(plan).batches()]


@pytest.fixture(scope="module")
def table(whole: Whole) -> pd.DataFrame:
    """The pathway's games in the order in which they were to be played."""
    games = whole.store.read("games", batches(whole.plan)).to_pandas()
    conditions = [c.key for c in pathway_of(whole.plan).settings.resolved_conditions]
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
    assert pathway_of(whole.plan).shortfall() == []
    assert 24 * len(batches(whole.plan)) == len(table) < 96  # it ends when both are filled


def test_activations_are_those_of_sae_lens_at_the_last_prompt_token(whole: Whole) -> None:
    activations = whole.store.read("activations").to_pandas()
    decisions = whole.store.read("decisions").to_pandas().set_index("key")
    keys = sorted(set(activations["decision"]))[::4]
    assert len(keys) > 5
    loaded, outputs = whole.context.loaded, {}
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
    assert (top.groupby("layer").size() <= pathway_of(whole.plan).settings.top_features).all()


def test_a_quota_the_cap_leaves_open_is_reported_and_slots_change_no_byte(
    whole: Whole, tmp_path: Path
) -> None:
    few = {"bankruptcies": 8, "stops": 2, "max_games": 12, "batch": 8, "max_rounds": 3}
    written = []
    for slots in (None, 5):
        plan = small_plan(tmp_path / str(slots), pathway=few)
        experiment, context, played = pathway_of(plan), on(whole.context, plan), []
        for stage in experiment.stages(ALIAS):
            if len(played) == 1:
                with pytest.raises(Incomplete, match="not finished"):
                    experiment.shortfall()
            if stage[0].kind == "games":
                played.append(sum(unit.rows or 0 for unit in stage))
            if stage[0].kind == "decodability":
                break  # is tested on enough games
            for unit in stage:
                carry_out(plan, unit, lambda _, context=context: context, slots)
        assert played == [8, 4]  # the cap ends the last batch early
        outcomes = plan.store.read("games")["outcome"].to_pylist()
        assert len(outcomes) == 12 and outcomes.count("bankruptcy") < 8
        [sentence] = [text for text in experiment.shortfall() if "bankruptcy" in text]
        assert sentence == (
            f"Short: {outcomes.count('bankruptcy')} of 8 games that end in bankruptcy, after 12 "
            "games."
        )
        written.append(parquet_bytes(plan.store))
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
    plan = small_plan(tmp_path, pathway={**few, "max_rounds": 3, "retries": 20})
    experiment, store, context = pathway_of(plan), plan.store, on(whole.context, plan)
    played = []
    for unit in experiment.batches():
        played.append(unit)
        carry_out(plan, unit, lambda _: context)
    decisions = store.read("decisions").to_pandas().set_index("key")
    with_states = set(store.read("activations")["decision"].to_pylist())
    counted = decisions[decisions["game"].isin(decisions.loc[sorted(with_states), "game"])]
    again = counted[(counted["decision"] == "bet") & counted["bet"].isna()]
    assert len(again) > 5 and not with_states & set(again.index)
    # In its place counts what the game went on with: one response a round.
    assert len(with_states) == len(counted.groupby(["game", "round"]))
    carry_out(plan, experiment.analysis(played), lambda _: context)
    assert store.read("pathway_curve").to_pandas()["decisions"].sum() == len(with_states)


@pytest.fixture(scope="module")
def shown(whole: Whole) -> pd.DataFrame:
    """The decisions that were decoded: one a round of the games that count."""
    settings = pathway_of(whole.plan).settings
    decisions = recorded(settings, whole.store, batches(whole.plan)).decisions
    return decisions.sort_values(["game", "round"]).reset_index(drop=True)


def test_the_lens_is_the_models_own_last_step_on_transformers_hidden_states(
    whole: Whole, shown: pd.DataFrame
) -> None:
    loaded = whole.context.loaded
    model = AutoModelForCausalLM.from_pretrained(loaded.spec.local, dtype=torch.float32).eval()
    text = {choice: loaded.tokenizer(way)["input_ids"] for choice, way in ANSWERS.items()}
    stop, bet = (ids[-1] for ids in (text["stop"], text["bet"]))  # the line ends with the choice
    length = len(loaded.tokenizer(LINE, add_special_tokens=False)["input_ids"])
    line = text["stop"][-1 - length : -1]
    margins: dict[int, list[float]] = {1: [], 3: []}
    for prompt in shown["prompt_text"]:
        ids = torch.tensor([[*loaded.encode(prompt), *line]])
        with torch.no_grad():
            found = model(ids, output_hidden_states=True)
            logits = model.lm_head(model.model.norm(found.hidden_states[2][0, -1]))
        margins[1].append(float(logits[stop] - logits[bet]))
        own = found.logits[0, -1]  # behind the last block the lens is the model's own answer
        margins[3].append(float(own[stop] - own[bet]))
    lens = whole.store.read("lens").to_pandas().set_index(["layer", "decision"])
    for layer, values in margins.items():
        for decision, mine in pd.Series(values).groupby(shown["decision"]):
            row = lens.loc[layer, decision]
            assert row["n"] == len(mine)
            assert row["margin"] == pytest.approx(mine.mean(), abs=1e-3)
            assert row["margin_low"] < row["margin"] < row["margin_high"]


def test_the_lens_crosses_where_a_stop_direction_is_written(whole: Whole) -> None:
    loaded = whole.context.loaded
    after, tokens = decoding.decision_point(loaded, "exp0/planned", ALL_CONDITIONS[0])
    assert loaded.decode(list(after)) == LINE
    head, norm = loaded.model.lm_head.weight, loaded.model.model.norm.weight
    stop = (head[tokens["stop"][0]] - head[tokens["bet"][0]]) / norm
    noise = torch.randn(len(stop), generator=torch.Generator().manual_seed(1)) * stop.std()
    states = torch.stack([noise + strength * stop for strength in (-4.0, -2.0, 2.0, 4.0)])
    found = decoding.lens_margins(loaded, states, tokens)
    assert (np.diff(found) > 0).all() and found[1] < 0 < found[2]


def test_a_choice_is_read_at_the_prompts_end_and_answers_that_begin_alike_are_refused(
    whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, condition = whole.context.loaded, Condition.parse("variable/GRWP")
    after, tokens = decoding.decision_point(loaded, "exp2/game", condition)
    assert after == () and {c: loaded.decode(list(t)) for c, t in tokens.items()} == {
        "bet": "1",
        "stop": "2",
    }
    monkeypatch.setitem(decoding._WAYS, "bet", " Stop not")
    with pytest.raises(BadInput, match="not told apart by one token"):
        decoding.decision_point(loaded, "exp0/planned", condition)


def test_a_direction_of_the_decision_is_decoded_from_the_layer_where_it_was_planted(
    whole: Whole, shown: pd.DataFrame
) -> None:
    """Streams of noise, with a stop direction from layer 3 on; the SAE saw none of it."""
    random = np.random.default_rng(0)
    decisions = pd.concat([shown.assign(game=shown["game"] + str(n)) for n in range(4)])
    stop = (decisions["decision"] == "stop").to_numpy()
    streams = {layer: torch.from_numpy(random.normal(0, 1, (len(stop), 64))) for layer in LAYERS}
    streams[3] += torch.from_numpy(np.outer(stop, random.normal(0, 0.6, 64)))
    place = np.arange(len(stop))
    none = pd.DataFrame({"decision": [], "layer": [], "feature": [], "value": []})
    found = decoding.decode(
        decisions.reset_index(drop=True), none, iter(streams.items()), place, layers=LAYERS, folds=3
    ).set_index(["layer", "grouping", "inputs"])
    assert found.loc[(3, "game", "residual"), "auc"] > 0.9
    assert 0.3 < found.loc[(1, "game", "residual"), "auc"] < 0.7
    assert (found.xs("sae", level="inputs")["auc"].dropna() == 0.5).all()
    assert found.loc[(3, "game", "residual"), "gain_low"] > 0


def test_decodability_counts_every_decision_and_says_where_it_cannot_be_told(
    whole: Whole, shown: pd.DataFrame
) -> None:
    found = whole.store.read("decodability").to_pandas()
    assert len(found) == len(LAYERS) * 2 * 3
    assert (found["n_stop"] == (shown["decision"] == "stop").sum()).all()
    assert (found["n_bet"] == (shown["decision"] == "bet").sum()).all()
    assert (found["auc"].isna() == found["reason"].notna()).all()
    known = found.dropna(subset="auc")
    assert len(known) and known["auc"].between(known["low"], known["high"]).all()


def test_attribution_ranks_what_was_planted_first_and_agrees_with_patching(whole: Whole) -> None:
    found = whole.store.read("attribution").to_pandas()
    agreed = agreement(found).set_index("layer")["correlation"]
    assert (agreed.loc[LAYERS] > 0.99).all()
    for layer, roles in planted(whole.study.models[ALIAS].sae).items():
        mine = found[found["layer"] == layer]
        if layer not in LAYERS:
            assert mine.empty
            continue
        first = mine.assign(size=mine["attribution"].abs()).nlargest(len(roles["causal"]), "size")
        assert set(first["feature"]) == set(roles["causal"])
        null = mine[mine["feature"].isin(roles["null"])]
        assert null["attribution"].abs().max() < 0.05 < 1 < first["size"].min()


@pytest.mark.parametrize("model", ["pitboss/lab-llama", "pitboss/lab-gemma"])
def test_the_gradient_is_the_difference_quotient_of_the_screening(model: str) -> None:
    loaded, layer = load_model(model, dtype="float32"), 1
    scenes = [render(name) for name in ("exp2/safe", "exp2/risky")]
    choices = choice_tokens(loaded, scenes)
    prompts = [tuple(loaded.encode(scene.text)) for scene in scenes]
    gradients = attribution.margin_gradients(loaded, prompts, choices)[:, layer]
    screen = Screen(loaded, width=16, prompts=prompts, choices=choices, mass=False)
    random = torch.Generator().manual_seed(2)
    directions = torch.randn(5, gradients.shape[1], generator=random)
    directions = torch.nn.functional.normalize(directions, dim=1)
    step = torch.tensor([1e-2, -1e-2])[None, :, None].expand(2, 2, 5)
    odds = screen.run(layer, directions, step).decisions.log_odds("stop", "bet")
    quotient = (odds[:, 0] - odds[:, 1]) / 2e-2
    np.testing.assert_allclose((gradients @ directions.T).numpy(), quotient, rtol=0.02, atol=5e-3)


def test_what_is_found_is_shown(whole: Whole) -> None:
    shown = list(pathway_of(whole.plan).results(ALIAS))
    tables = {each.name: each.rows for each in shown if isinstance(each, TableArtifact)}
    assert len(tables["pathway"]) == len(whole.store.read("pathway"))
    assert len(tables["pathway-decodability"]) == len(LAYERS) * 2 * 3
    assert [row["layer"] for row in tables["pathway-attribution"]] == LAYERS
    figures = [each.name for each in shown if isinstance(each, FigureArtifact)]
    assert figures == ["pathway", "pathway-reading"]
    [note] = [each for each in shown if isinstance(each, NoteArtifact)]
    assert [line.split(":")[0] for line in note.text.splitlines()] == ["- Layer 1", "- Layer 3"]
    assert "a half of the games is too small" in note.text and "Short" not in note.text
