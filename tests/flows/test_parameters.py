"""What the UI's form shows, and what it lets through."""

import importlib
import pkgutil
from typing import Any

import pytest
from prefect import Flow

import flows
from flows.experiments import games, patching
from flows.parameters import chosen, named, ranges
from pitboss.errors import BadInput
from tasks.study import read_study

MODULES = [importlib.import_module(f"flows.{m.name}") for m in pkgutil.iter_modules(flows.__path__)]
ALL = list({v.name: v for m in MODULES for v in vars(m).values() if isinstance(v, Flow)}.values())


def test_every_experiment_is_a_flow() -> None:
    names = {"campaign", "games", "features", "pathway", "screening", "patching", "words"}
    assert {*names, "confirmation", "clamped_games", "approve", "watch"} <= {
        flow.name for flow in ALL
    }


@pytest.mark.parametrize("flow", ALL, ids=lambda flow: flow.name)
def test_every_parameter_is_typed_and_explained(flow: Flow[..., Any]) -> None:
    assert flow.description
    for name, shown in flow.parameters.properties.items():
        assert len(shown.get("description", "")) > 20, name
        assert "type" in shown or "anyOf" in shown, name


@pytest.mark.parametrize(
    ("flow", "parameters"),
    [
        (patching, {"shards": 0}),
        (patching, {"shard": -1}),
        (patching, {"shard": "first"}),
        (games, {"model": "../x"}),
        (games, {"study": "/etc/passwd"}),
    ],
)
def test_impossible_parameters_are_refused(
    flow: Flow[..., Any], parameters: dict[str, object]
) -> None:
    with pytest.raises(Exception, match="Flow run received invalid parameters|validation error"):
        flow.validate_parameters(parameters)


@pytest.mark.parametrize("path", ["studies/../../outside.yaml", "/etc/hosts"])
def test_a_study_outside_the_repository_is_refused(path: str) -> None:
    with pytest.raises(BadInput, match="outside the repository"):
        read_study(path)


def test_a_model_the_experiment_does_not_have_is_refused() -> None:
    assert chosen(None, ["llama", "gemma"], "games.models") == ["llama", "gemma"]
    assert chosen("gemma", ["llama", "gemma"], "games.models") == ["gemma"]
    with pytest.raises(BadInput, match="no 'gemma' among features.models: llama"):
        chosen("gemma", ["llama"], "features.models")


@pytest.mark.parametrize(
    ("flow", "parameters", "pool", "name"),
    [
        ("patching", {"shard": 0, "shards": 2}, "gpu-0", "patching demo llama L0-3 1/2 on gpu-0"),
        ("games", {"model": "gemma"}, "gpu-1", "games demo gemma on gpu-1"),
        ("games", {"model": None}, "", "games demo llama+gemma"),
        ("features", {}, "gpu-0", "features demo llama L0-3 on gpu-0"),
        ("pathway", {"shards": 1}, "gpu-0", "pathway demo llama L1-3 on gpu-0"),
        ("screening", {}, "gpu-1", "screening demo llama L0-3 on gpu-1"),
        ("words", {}, "gpu-0", "words demo llama L0-3 on gpu-0"),
        ("campaign", {}, "control", "campaign demo on control"),
    ],
)
def test_a_runs_name_tells_study_model_layers_and_pool(
    flow: str, parameters: dict[str, Any], pool: str, name: str
) -> None:
    assert named(flow, {"study": "studies/demo.yaml", **parameters}, pool) == name


def test_a_run_of_a_study_that_cannot_be_read_has_a_name_all_the_same() -> None:
    assert named("games", {"study": "studies/no.yaml", "model": "llama"}, "") == "games no llama"
    assert named("watch", {}, "control") == "watch on control"


def test_layers_are_named_as_ranges() -> None:
    assert ranges([25, 26, 27, 30, 1, 2]) == "1-2,25-27,30"
