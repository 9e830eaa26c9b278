"""A study as a whole: any kinds, any number of each, and how they name each other and the floor."""

from copy import deepcopy
from typing import Annotated, Any, Literal

import pytest

from pitboss.errors import BadInput
from pitboss.experiments.registry import parse_study, settings_types
from pitboss.studies import loading, model
from pitboss.studies.experiment import ExperimentSettings, Name, Reads

TABLE = {
    "path": "lab/some.json",
    "space": "sae",
    "model": "pitboss/lab-llama",
    "sae": "pitboss/lab-llama-scope",
    "gate": "sae_lens",
    "hook_point": "blocks.{layer}.hook_resid_post",
    "token": "prompt_last",
    "d_sae": 256,
}


def refused(settings: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as refusal:
        parse_study(settings)
    return str(refusal.value)


@pytest.fixture
def experiments(settings: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = settings["experiments"]
    return found


@pytest.fixture
def two_models(settings: dict[str, Any], experiments: dict[str, Any]) -> dict[str, Any]:
    """The demo whose second model is patched, too."""
    for name, reads in (("features", "model"), ("patching", "bank"), ("words", "patching")):
        other = deepcopy(experiments[name])
        other[reads] = "gemma" if name == "features" else f"{other[reads]}-gemma"
        experiments[f"{name}-gemma"] = other
    return settings


def needs(name: str, experiments: dict[str, Any]) -> set[str]:
    """An experiment of the demo with everything that it reads, directly or not."""
    fields = ("games", "selection", "bank", "patching")
    reads = {value for field in fields if (value := experiments[name].get(field)) in experiments}
    return {name}.union(*(needs(other, experiments) for other in reads))


@pytest.mark.parametrize("kind", list(settings_types()))
def test_an_experiment_and_what_it_reads_are_a_study(settings: dict[str, Any], kind: str) -> None:
    experiments = settings["experiments"]
    [name] = [name for name, section in experiments.items() if section["kind"] == kind]
    wanted = needs(name, experiments)
    settings["experiments"] = {n: s for n, s in experiments.items() if n in wanted}
    study = parse_study(settings)
    assert set(study.in_order()) == wanted and study.in_order()[-1] == name
    assert set(study.aliases_of(name)) <= {"llama", "gemma"} and study.aliases_of(name)


def test_the_order_is_that_of_the_file_but_behind_what_is_read(settings: dict[str, Any]) -> None:
    in_file = list(settings["experiments"])
    assert parse_study(settings).in_order() == in_file
    backwards = dict(reversed(settings["experiments"].items()))
    study = parse_study(settings | {"experiments": backwards})
    order = study.in_order()
    assert order != in_file and all(
        order.index(read) < order.index(name) for name in order for read in study.reads(name)
    )


def test_both_models_are_patched_in_one_study(two_models: dict[str, Any]) -> None:
    study = parse_study(two_models)
    for name in ("features", "patching", "words"):
        assert study.aliases_of(name) == ["llama"]
        assert study.aliases_of(f"{name}-gemma") == ["gemma"]
    assert study.reads("words-gemma") == {"patching-gemma"}


@pytest.mark.parametrize(
    ("name", "field", "other", "says"),
    [
        ("features", "games", "played", "'played' is no other experiment with games to read; use"),
        ("features", "games", "pathway", "use one of games"),
        ("screening", "selection", "patching", "with features to read; use one of features"),
        ("patching", "bank", "games", "with bank to read; use one of features, screening"),
        ("patching", "bank", "patching", "use one of features, screening"),
        ("confirmation", "patching", "confirmation", "with effects to read; use one of patching"),
        ("words", "patching", "features", "use one of patching"),
        ("clamped", "patching", "words", "use one of patching"),
    ],
)
def test_a_reference_to_what_is_not_there_or_of_another_kind_is_refused(
    settings: dict[str, Any], name: str, field: str, other: str, says: str
) -> None:
    settings["experiments"][name][field] = other
    message = refused(settings)
    assert f"experiments.{name}.{field}: '{other}' is no other experiment" in message
    assert says in message


def test_what_nothing_makes_is_said(settings: dict[str, Any], experiments: dict[str, Any]) -> None:
    del experiments["games"]
    message = refused(settings)
    assert "1 problem" in message
    assert "features.games: 'games' is no other experiment with games to read" in message
    assert "the study has none" in message


@pytest.mark.parametrize(
    ("name", "field", "kind"),
    [("confirmation", "patching", "confirmation"), ("patching", "bank", "patching")],
)
def test_what_an_experiment_cannot_do_without_is_missing(
    settings: dict[str, Any], name: str, field: str, kind: str
) -> None:
    settings["experiments"][name] = {"kind": kind}
    assert f"experiments.{name}.{field}: is missing" in refused(settings)


def test_a_selection_compares_games_or_takes_a_table(
    settings: dict[str, Any], experiments: dict[str, Any]
) -> None:
    features = experiments["features"]
    features["imported"] = TABLE
    assert "name the games that are compared, or a table" in refused(settings)
    del features["games"]
    assert "imported goes with include: none" in refused(settings)
    features["include"] = "none"
    # All features have values only where the study has statistics of its own.
    assert "experiments.screening.features: all needs the statistics" in refused(settings)
    experiments["screening"]["features"] = "selected"
    assert parse_study(settings).experiments["screening"].with_mass


def test_features_are_of_a_model_that_plays(settings: dict[str, Any]) -> None:
    settings["experiments"]["games"]["models"] = ["gemma"]
    assert "experiments.features.model: llama does not play in games" in refused(settings)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [("games", "models", ["llama", "lama"]), ("pathway", "model", "lama")],
)
def test_a_model_that_the_study_does_not_have_is_refused(
    settings: dict[str, Any], name: str, field: str, value: object
) -> None:
    settings["experiments"][name][field] = value
    message = refused(settings)
    assert f"experiments.{name}.{field}: the study has no model 'lama'; it has llama, gemma" in (
        message
    )


def test_a_patching_is_confirmed_once(
    settings: dict[str, Any], experiments: dict[str, Any]
) -> None:
    experiments["again"] = experiments["confirmation"]
    assert "again.patching: patching is confirmed by confirmation already" in refused(settings)


class _Loop(ExperimentSettings):
    """Reads what its like makes."""

    flow, makes = "loop", ("loops",)
    kind: Literal["loop"]
    other: Annotated[Name, Reads("loops")]


class _Loops(model.Study):
    experiments: dict[Name, _Loop]  # type: ignore[assignment]


def test_a_circle_is_refused_with_those_in_it(settings: dict[str, Any]) -> None:
    loops = {"a": {"kind": "loop", "other": "b"}, "b": {"kind": "loop", "other": "a"}}
    with pytest.raises(BadInput, match="experiments: The experiments a, b read each other in a"):
        loading.parse_study(settings | {"experiments": loops}, _Loops)


@pytest.mark.parametrize(
    ("pools", "says"),
    [
        ({"game": "gpu-0"}, "floor.pools.game: the study has no experiment 'game'; it has games"),
        ({"games": "GPU 0"}, "floor.pools.games: should be small letters, digits and hyphens"),
        ({"games": 5}, "floor.pools.games: should be a text or a list or a mapping (given: 5)"),
        ({"games": {"llama": "gpu-0"}}, "floor.pools.games: names no pool for gemma"),
        (
            {"features": {"llama": "gpu-0", "gemma": "gpu-1"}},
            "floor.pools.features: features does not use gemma",
        ),
        ({"games": ["gpu-0", "gpu-1"]}, "one worker at a time carries out games; name one pool"),
        ({"patching": []}, "floor.pools.patching"),
        ({"patching": ["gpu 0"]}, "floor.pools.patching.0: should be small letters"),
        ({"patching": ["gpu-0", "gpu-0"]}, "named twice: gpu-0"),
    ],
)
def test_pools_that_do_not_fit_the_experiments_are_refused(
    settings: dict[str, Any], pools: dict[str, object], says: str
) -> None:
    settings["floor"] = {"pools": pools}
    assert says in refused(settings)


def test_pools_may_be_one_or_one_a_model_or_several_that_share(settings: dict[str, Any]) -> None:
    pools = {
        "games": {"llama": "gpu-0", "gemma": "gpu-1"},
        "features": "gpu-0",
        "patching": ["gpu-0", "gpu-1"],
        "words": ["gpu-1"],
    }
    settings["floor"] = {"pools": pools}
    assert parse_study(settings).floor.pools == pools
