"""The shipped studies that a person copies, carried out as they are on the lab's model."""

from pathlib import Path

import pytest

from deployments.settings import ROOT
from pitboss.experiments.announce import announce
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.selection.experiment import Selection
from pitboss.experiments.words.experiment import Words
from pitboss.saes.planted import planted
from tests.experiments.small import on, run_everything


def carried_out(name: str, context: ModelContext, root: Path) -> Plan:
    """A shipped study, finished: every experiment, with everything that a person is shown."""
    study = load_study(ROOT / "studies" / f"{name}.yaml")
    plan = plan_of(study, open_store(study, root))
    for experiment in plan:
        experiment.preflight()
    run_everything(plan, on(context, plan))
    for experiment in plan:
        assert plan.finished(experiment.name)
        assert all(list(experiment.results(model)) for model in experiment.models)
    return plan


def test_games_alone_are_a_study(context: ModelContext, tmp_path: Path) -> None:
    plan = carried_out("games-only", context, tmp_path)
    games = plan.store.read("games").to_pandas()
    assert len(games) == announce(plan).runs == 16
    assert games.groupby("condition").size().to_dict() == {
        "fixed/BASE": 4,
        "fixed/GMRWP": 4,
        "variable/BASE": 4,
        "variable/GMRWP": 4,
    }


@pytest.fixture(scope="module")
def imported(context: ModelContext, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return carried_out("patch-imported", context, tmp_path_factory.mktemp("imported"))


def test_of_features_from_elsewhere_the_causal_ones_are_found(imported: Plan) -> None:
    patching = imported["patching"]
    assert isinstance(patching, Patching)
    bank = patching.bank
    patched = set(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))
    known = planted("pitboss/lab-llama-scope")
    of_role = {
        role: {(layer, i) for layer in (1, 2) for i in known[layer][role]} & patched
        for role in ("causal", "null")
    }
    assert {role: len(names) for role, names in of_role.items()} == {"causal": 8, "null": 8}
    assert set(patching.causal()) == of_role["causal"]


def test_what_is_found_is_looked_up_in_the_responses_that_there_are(imported: Plan) -> None:
    words = imported["words"]
    assert isinstance(words, Words) and words.contexts().identity["games"] == []
    found = imported.store.read("contexts", [words.contexts().key]).to_pandas()
    assert set(zip(found["layer"], found["feature"], strict=True)) <= set(words.causal)
    assert len(found) and set(found["source"]) <= set(
        imported.store.read("trials", [words.contexts().payload.baseline])["key"].to_pylist()
    )


def test_nothing_is_played_for_features_from_elsewhere(imported: Plan) -> None:
    assert not imported.store.refs("games") and not imported.store.refs("statistics")
    assert [w.experiment for w in announce(imported).work if w.tokens] == ["patching"]


def test_as_many_features_are_announced_as_the_table_has_of_each_layer(imported: Plan) -> None:
    runs = {w.experiment: w.runs for w in announce(imported).work}
    controls = (8 + 8) * 2 + 2 + 2
    assert runs["features"] == runs["words"] == 16
    assert runs["patching"] == (16 * 2 + 1 + controls) * 2 * 20
    assert runs["patching"] == imported.store.read("trials").num_rows
    features = imported["features"].settings.model_copy(update={"per_layer": 5})
    few = Selection(imported, "features", features)
    assert few.most() == 2 * 5
