"""A screening without a selection: every feature off and at its most, in scenes and states."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from deployments.settings import ROOT
from pitboss.errors import BadInput
from pitboss.experiments.registry import load_study, parse_study, plan_of
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.games.scenes import scene, state_names
from pitboss.saes.loading import load_sae
from pitboss.saes.planted import planted_in
from pitboss.studies.model import Study
from tests.experiments.screened import SCENES, plain, screen, screening_of
from tests.experiments.small import ALIAS, on

STATES = state_names(0, 24)
RELEASE = "pitboss/lab-llama-scope"


def shipped(**fields: object) -> Study:
    """studies/screen-only.yaml, with changes to its one experiment."""
    made = load_study(ROOT / "studies" / "screen-only.yaml").model_dump(mode="json")
    made["experiments"]["screening"].update(fields)
    return parse_study(made)


@pytest.fixture(scope="module")
def alone(context: ModelContext, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The shipped study that only screens, finished."""
    study = shipped()
    plan = plan_of(study, open_store(study, tmp_path_factory.mktemp("alone")))
    screen(plan, on(context, plan))
    return plan


@pytest.fixture(scope="module")
def rows(alone: Plan) -> pd.DataFrame:
    return alone.store.read("screening").to_pandas()


def test_it_needs_no_games_and_asks_in_scenes_and_states(alone: Plan, rows: pd.DataFrame) -> None:
    assert [each.name for each in alone] == ["screening"] and alone.finished("screening")
    assert set(rows["prompt"]) == {*SCENES, *STATES}
    assert len(rows) == 4 * 256 * 26 * 2
    assert set(rows["value_name"]) == {"off", "most"}
    assert {path.name for path in (alone.store.path / "parts").iterdir()} == {
        "screening",
        "ranking",
    }


def test_off_is_zero_and_most_is_the_largest_activation_in_these_prompts(
    rows: pd.DataFrame, context: ModelContext
) -> None:
    """The activations are read by a hook on the model itself, prompt by prompt."""
    names = sorted({*SCENES, *STATES})
    for layer in (0, 3):
        states: list[torch.Tensor] = []
        block = context.loaded.model.model.layers[layer]
        hook = block.register_forward_hook(lambda _, __, out, to=states: to.append(out[0, -1]))
        with torch.no_grad():
            for name in names:
                context.loaded.model(torch.tensor([context.loaded.encode(scene(name).text)]))
        hook.remove()
        sae = load_sae(RELEASE, layer, "sae_lens")
        expected = sae.encode(torch.stack(states)).numpy()
        assert 5 < (expected.max(0) > 0).sum() < 256
        mine = rows[rows["layer"] == layer]
        wide = mine.pivot(index=["prompt", "feature"], columns="value_name", values="value")
        assert (wide["off"] == 0).all()
        most = wide["most"].unstack("feature")
        assert (most.nunique() == 1).all()
        np.testing.assert_allclose(most.iloc[0], expected.max(0), rtol=1e-4, atol=1e-5)
        own = mine[mine["value_name"] == "off"].pivot(
            index="prompt", columns="feature", values="own"
        )
        np.testing.assert_allclose(own.loc[names], expected, rtol=1e-4, atol=1e-5)
    same = rows["value"] == rows["own"]
    assert (rows["unchanged"] == same).all()
    silent = rows.groupby(["layer", "feature"])["value"].transform("max") == 0
    assert rows[silent]["unchanged"].all() and (rows[silent]["shift"] == 0).all()


def test_the_decisions_in_states_are_those_of_transformers(
    rows: pd.DataFrame, context: ModelContext
) -> None:
    exact = rows.set_index(["layer", "feature", "prompt", "value_name"])
    changed = rows[~rows["unchanged"] & rows["prompt"].isin(STATES)]
    assert set(changed["layer"]) == {0, 1, 2, 3}
    for layer, of_layer in changed.groupby("layer"):
        sae = load_sae(RELEASE, layer, "sae_lens")
        for row in of_layer.sample(6, random_state=1).itertuples():
            name = (layer, row.feature, row.prompt, row.value_name)
            bet, stop = plain(context.loaded, row.prompt, layer, sae, row.feature, row.value)
            assert exact.loc[name, "log_odds"] == pytest.approx(stop - bet, rel=1e-5, abs=1e-5)


def test_planted_features_lead_by_what_off_takes_away(alone: Plan, rows: pd.DataFrame) -> None:
    screening = screening_of(alone)
    ranked = screening.ranked()
    known = planted_in(RELEASE, range(4))
    first = ranked.head(len(known["causal"]))
    assert set(zip(first["layer"], first["feature"], strict=True)) == known["causal"]
    wide = rows.pivot(index=["layer", "feature", "prompt"], columns="value_name", values="log_odds")
    contrast = wide["off"] - wide["most"]
    for row in (*first.itertuples(), ranked.iloc[-1]):
        mine = contrast.loc[row.layer, row.feature]
        assert abs(row.contrast) == mine.abs().max()
        assert mine[row.contrast_prompt] == row.contrast
    told = screening.summary()["screened"]
    assert told["planted_causal_leading"] == told["planted_causal"] == len(known["causal"])
    table, _ = screening.results(ALIAS)
    assert table.rows[0]["off − most"] == f"{first.iloc[0].contrast:+.3f}"


def test_what_is_asked_for_is_in_the_keys_and_chunks_stay_of_a_size(
    alone: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keys(**fields: object) -> set[str]:
        return {u.key for u in screening_of(plan_of(shipped(**fields), alone.store)).chunks}

    here = keys()
    assert here == {unit.key for unit in screening_of(alone).chunks}
    others = [
        keys(states=23),
        keys(states=None),
        keys(values=["most"], rank_by="shift"),
        keys(gate="authors"),
        keys(prompts=["exp2/safe"]),
    ]
    assert all(one.isdisjoint(two) for one, two in combinations([here, *others], 2))
    assert keys(rank_by="shift") == here
    monkeypatch.setattr("pitboss.experiments.screening.chunks._MOST_ROWS", 100 * 26 * 2)
    units = screening_of(plan_of(shipped(), alone.store)).chunks
    assert [len(unit.payload.features) for unit in units] == [100, 100, 56] * 4
    assert sum(unit.rows or 0 for unit in units) == 4 * 256 * 26 * 2


@pytest.mark.parametrize(
    ("sae", "limit", "says"),
    [
        ("pitboss/lab-gemma-scope", None, r"layer 1 leaves \d\.\d+ of the variance.*limit 0\.500"),
        ("pitboss/lab-llama-scope", 1e-4, r"reconstruction 1"),
        ("off by one", 2.0, "a neighbouring layer only .*is the layer off by one"),
    ],
)
def test_an_sae_that_does_not_fit_is_not_screened(
    context: ModelContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sae: str,
    limit: float | None,
    says: str,
) -> None:
    settings = shipped(layers=[1], max_unexplained=limit).model_dump(mode="json")
    if sae == "off by one":
        monkeypatch.setattr(
            "pitboss.experiments.screening.shifts.load_sae",
            lambda release, layer, *rest: replace(load_sae(release, layer + 1, *rest), layer=layer),
        )
    else:
        settings["models"]["llama"]["sae"] = sae
    plan = plan_of(study := parse_study(settings), open_store(study, tmp_path))
    with pytest.raises(BadInput, match=says):
        screen(plan, on(context, plan))
    assert plan.store.refs("screening") == []


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"layers": None}, "a model and its layers"),
        ({"values": ["safe", "risky"]}, "means of a selection's groups"),
        ({"values": ["most"]}, "contrast needs two values"),
        ({"values": ["off", "none"]}, "'off' or 'most'"),
        ({"layers": [9]}, r"no SAE for \[9\]"),
    ],
)
def test_a_screening_that_makes_no_sense_alone_is_refused(
    fields: dict[str, object], says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        shipped(**fields)


def test_off_is_a_word_in_a_study_file(tmp_path: Path) -> None:
    """YAML 1.1 takes it for false."""
    text = (ROOT / "studies" / "screen-only.yaml").read_text(encoding="utf-8")
    assert "values: [off, most]" in text
    path = tmp_path / "screen-only.yaml"
    path.write_text(text.replace("rank_by: contrast", "rank_by: contrast\n    mass: true"))
    screening = load_study(path).experiments["screening"].model_dump()
    assert screening["values"] == ["off", "most"] and screening["mass"] is True
