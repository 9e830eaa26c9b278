"""Games with a clamped feature: planted ones move how they end, nulls and controls do not,
the same games are played in every arm, and a killed process leaves nothing behind but time.
"""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.clamped_games.experiment import ClampedGames
from pitboss.experiments.clamped_games.features import strongest
from pitboss.experiments.clamped_games.games import games_of
from pitboss.experiments.registry import parse_study, plan_of
from pitboss.experiments.runtime.artifacts import FigureArtifact, TableArtifact
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.playing import play_all
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.runtime.unit import Unit
from pitboss.models.catalogue import LAB_DIR
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import load_sae
from pitboss.store import Store
from pitboss.studies.model import Study
from tests.experiments.small import ALIAS, on, parquet_bytes, settings

LAYER, GAMES = 3, 8
STOPS, PLAYS_ON, NULL = 0, 59, 64
"""Planted at layer 3: at its safe value the first stops, the second plays on, the third neither."""


def study_of(**changes: Any) -> Study:
    clamped = {
        "kind": "clamped_games",
        "patching": "patching",
        "features": {LAYER: [STOPS, PLAYS_ON, NULL]},
        "controls": 1,
        "prompt": "exp2/game",
        "conditions": ["variable/GRWP"],
        "repetitions": GAMES,
        "max_rounds": 8,
        "chunk": 2,
        "resamples": 1000,
        "sampling": {"max_new_tokens": 24},
        **changes,
    }
    layers = {"layers": [LAYER]}
    return parse_study(settings(engine={"width": 32}, features=layers, clamped=clamped))


def clamped(plan: Plan) -> ClampedGames:
    experiment = plan["clamped"]
    assert isinstance(experiment, ClampedGames)
    return experiment


def prepared(study: Study, results: Path) -> Plan:
    """The study with a bank of planted features, as the selection leaves it."""
    plan = plan_of(study, open_store(study, results))
    selection, choice = clamped(plan).patching.selection, study.models[ALIAS]
    known = json.loads((LAB_DIR / "planted.json").read_text(encoding="utf-8"))[choice.sae]
    entries = {e["feature"]: e for e in known[str(LAYER)]}
    FeatureBank.build(
        [load_sae(choice.sae, LAYER, selection.gate)],
        {LAYER: list(entries)},
        values={
            name: {(LAYER, i): entry[name] for i, entry in entries.items()}
            for name in ("safe", "risky")
        },
        meta=selection.bank_meta,
    ).save(selection.bank_path)
    return plan


@pytest.fixture(scope="module")
def plan(context: ModelContext, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """All games played and compared."""
    plan = prepared(study_of(), tmp_path_factory.mktemp("clamped"))
    carry_out_all(plan, clamped(plan), ALIAS, lambda _: on(context, plan))
    return plan


@pytest.fixture(scope="module")
def done(plan: Plan) -> Store:
    return plan.store


@pytest.fixture(scope="module")
def effects(done: Store) -> pd.DataFrame:
    table = done.read("persistent_effects").to_pandas()
    return table.set_index(["role", "feature", "arm"])


def test_planted_features_move_the_games_and_others_do_not(
    done: Store, effects: pd.DataFrame
) -> None:
    rounds = effects["rounds"]
    baseline = rounds.xs("baseline", level="role").iloc[0]
    assert rounds["feature", STOPS, "safe"] < baseline < rounds["feature", STOPS, "risky"]
    assert rounds["feature", PLAYS_ON, "risky"] < baseline < rounds["feature", PLAYS_ON, "safe"]
    assert effects.loc[("feature", STOPS, "risky"), "bankruptcies"] > 0
    assert effects.loc[("feature", STOPS, "safe"), "stops"] == GAMES
    contrast = done.read("persistent_contrasts").to_pandas()
    found = contrast[contrast["measure"] == "rounds"].set_index(["role", "feature"])
    assert found.loc[("feature", STOPS), "difference"] < -2
    assert found.loc[("feature", PLAYS_ON), "difference"] > 2
    assert (found.loc[[("feature", STOPS), ("feature", PLAYS_ON)], "q"] < 0.05).all()
    assert found.loc[("feature", NULL), "difference"] == 0
    assert abs(found.loc[("random_direction", STOPS), "difference"]) < 2
    significant = done.read_json("persistent.json")["significant"]
    hits = {(x["measure"], x["role"]): (x["hits"], x["tested"]) for x in significant}
    assert hits["rounds", "feature"] == (2, 3) and hits["rounds", "random_direction"] == (0, 1)


def test_every_arm_plays_the_same_games_with_the_same_luck_and_noise(done: Store) -> None:
    table = done.read("persistent").to_pandas()
    decisions = done.read("decisions").to_pandas()
    assert len(table) == (1 + 2 * (3 + 1)) * GAMES
    arms = table.groupby(["role", "feature", "arm"], dropna=False)["game"]
    assert {tuple(sorted(names)) for _, names in arms} == {tuple(sorted(set(table["game"])))}
    assert table["game"].nunique() == GAMES
    joined = decisions.merge(table[["key", "game"]], left_on="game", right_on="key")
    luck = joined.dropna(subset=["won"]).groupby(["game_y", "round"])["won"]
    assert (luck.nunique() == 1).all() and luck.ngroups < len(joined.dropna(subset=["won"]))
    assert joined["noise"].tolist() == [
        f"{row.game_y}/{row.round:03d}/{row.attempt}" for row in joined.itertuples()
    ]
    # Up to the first different response, an arm is its baseline letter for letter.
    first = joined[joined["round"] == 1].groupby("game_y")
    assert (first["prompt_text"].nunique() == 1).all()
    null = table[(table["feature"] == NULL) & (table["arm"] == "safe")]
    base = table[table["role"] == "baseline"]
    same = ["game", "outcome", "rounds", "wins"]
    pd.testing.assert_frame_equal(
        null[same].sort_values("game").reset_index(drop=True),
        base[same].sort_values("game").reset_index(drop=True),
    )


def test_what_is_stored_of_an_arm(done: Store) -> None:
    table = done.read("persistent").to_pandas()
    base = table[table["role"] == "baseline"]
    assert base[["layer", "feature", "value", "matched"]].isna().all().all()
    control = table[table["role"] == "random_direction"]
    assert set(control["matched"]) == {f"L{LAYER}/F{STOPS}"}
    mine = table[(table["role"] == "feature") & (table["feature"] == STOPS)]
    for value in ("safe", "risky"):
        assert set(control.loc[control["arm"] == value, "value"]) == set(
            mine.loc[mine["arm"] == value, "value"]
        )


def test_the_baseline_is_the_game_as_it_is_played_without_patches(
    plan: Plan, context: ModelContext
) -> None:
    section, context = clamped(plan).settings, on(context, plan)
    machines = [game for _, game in games_of(context, section, "baseline")]
    played = play_all(context, section, section.sampling, machines[:2], None)
    stored = plan.store.read("decisions").to_pandas().set_index("key")["response"]
    for decision in played.decisions:
        assert stored[decision["key"]] == decision["response"]


@pytest.mark.parametrize("moment", ["playing", "first file", "record"])
def test_killed_at_any_moment_the_bytes_are_the_same_in_the_end(
    done: Store, context: ModelContext, tmp_path: Path, moment: str
) -> None:
    plan = prepared(study_of(), tmp_path)
    unit, store = clamped(plan).baseline(), plan.store
    assert _dies(plan, context, unit, moment) == -signal.SIGKILL
    assert unit.ref(store) is None
    again = plan_of(plan.study, Store.open(store.path))
    carry_out(again, unit, lambda _: on(context, again))
    want = {p: data for p, data in parquet_bytes(done).items() if unit.key in p}
    assert {p: d for p, d in parquet_bytes(store).items() if unit.key in p} == want
    assert len(want) == 2 and all(problem.harmless for problem in store.verify())


def _dies(plan: Plan, context: ModelContext, unit: Unit, moment: str) -> int:
    """Do the unit in a process of its own that is killed at this moment."""
    if (pid := os.fork()) == 0:
        torch.set_num_threads(1)

        def after(call: Callable[..., Any], number: int) -> Callable[..., Any]:
            calls = iter(range(1, number + 1))

            def counted(*args: Any, **kwargs: Any) -> Any:
                if next(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*args, **kwargs)

            return counted

        if moment == "playing":
            from pitboss.engine.runner import Runner

            Runner.launch = after(Runner.launch, 15)  # type: ignore[method-assign]
        else:  # decisions: part, record; games: part, record
            os.rename = after(os.rename, {"first file": 1, "record": 4}[moment])
        carry_out(plan, unit, lambda _: on(context, plan))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_what_has_to_be_there_is_asked_for_before_any_game(
    context: ModelContext, tmp_path: Path
) -> None:
    plan = prepared(study_of(), tmp_path)
    stranger = plan_of(study_of(features={LAYER: [1]}), plan.store)
    with pytest.raises(BadInput, match="not among the patched ones.*where they are selected"):
        next(clamped(stranger).stages(ALIAS))
    causal = plan_of(study_of(features="causal", most=2), plan.store)
    with pytest.raises(Incomplete, match="of patching.* yet"):
        next(clamped(causal).stages(ALIAS))
    _, effects = clamped(plan).stages(ALIAS)
    with pytest.raises(Incomplete, match="decisions.*not finished"):
        clamped(plan).run(None, effects[0])


def test_a_lost_count_of_what_is_significant_is_made_again(plan: Plan, tmp_path: Path) -> None:
    shutil.copytree(plan.store.path, tmp_path / "copy")
    again = plan_of(plan.study, Store.open(tmp_path / "copy"))
    [effects] = list(clamped(again).stages(ALIAS))[-1]
    before = (again.store.path / "persistent.json").read_bytes()
    (again.store.path / "persistent.json").write_text("{", encoding="utf-8")
    assert effects.ref(again.store) is None and not again.finished("clamped")
    carry_out_all(again, clamped(again), ALIAS, _no_model)
    assert (again.store.path / "persistent.json").read_bytes() == before
    assert again.finished("clamped")


def _no_model(alias: str) -> ModelContext:
    raise AssertionError(f"{alias} is not needed")


def test_what_is_found_is_shown(plan: Plan) -> None:
    tables, figures = {}, []
    for shown in clamped(plan).results(ALIAS):
        if isinstance(shown, TableArtifact):
            tables[shown.name] = shown.rows
        else:
            assert isinstance(shown, FigureArtifact)
            figures.append(shown.name)
    assert set(tables) == {"clamped", "clamped-controls"} and figures == ["persistent"]
    arms = {(row["role"], row["feature"], row["arm"]): row for row in tables["clamped"]}
    assert len(arms) == len(tables["clamped"]) == 1 + 2 * (3 + 1)
    safe = arms["feature", f"L{LAYER}/F{STOPS}", "safe"]
    assert safe["bankrupt"] == f"0/{GAMES}" and safe["Δ rounds"] < 0


def test_only_games_without_a_patch_are_judged(plan: Plan) -> None:
    games, effects = clamped(plan).stages(ALIAS)
    assert [unit.slug for unit in games if clamped(plan).judges(unit)] == [
        f"{ALIAS}/persistent-baseline"
    ]
    assert not clamped(plan).judges(effects[0])


def test_the_strongest_causal_features_come_first() -> None:
    rows = [
        ("feature", 1, 5, "stop", "safe_vs_risky", -0.4, True),
        ("feature", 1, 5, "stop", "safe_vs_risky", 0.9, True),
        ("feature", 2, 1, "stop", "safe_vs_risky", -0.95, True),
        ("feature", 2, 3, "stop", "safe_vs_risky", 0.9, True),
        ("feature", 2, 3, "stop", "safe_vs_baseline", 1.0, True),
        ("feature", 3, 1, "stop", "safe_vs_risky", 0.99, False),
        ("random_direction", 3, 2, "stop", "safe_vs_risky", 0.99, True),
        ("feature", 2, 3, "stake", "safe_vs_risky", 7.0, True),
    ]
    columns = ["role", "layer", "feature", "outcome", "contrast", "difference", "causal"]
    table = pd.DataFrame(rows, columns=columns)
    assert strongest(table) == [(2, 1), (2, 3), (1, 5)]


def test_what_decides_the_games_is_in_their_keys() -> None:
    def key(**changes: Any) -> str:
        return clamped(plan_of(study_of(**changes), None)).baseline().key

    assert key() == key(controls=0, chunk=1, resamples=5000, fdr=0.1)
    assert len({key(), key(repetitions=9), key(max_rounds=9), key(retries=2)}) == 4
    patching = clamped(plan_of(study_of(), None)).patching
    assert patching.baseline_unit().key != key()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"conditions": ["variable/BASE"]}, "exp2/game exists for the conditions"),
        ({"most": 2}, "names 3 features, most allows 2"),
        ({"patching": "features"}, "experiments.clamped.patching"),
        ({"resamples": 10}, "experiments.clamped.resamples"),
    ],
)
def test_a_wrong_section_is_refused_and_named(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        study_of(**changes)
