"""What the UI's form shows, and what it lets through."""

from typing import Any

import pytest
from prefect import Flow

from flows.campaign import campaign
from flows.features import features
from flows.games import games
from flows.parameters import chosen
from flows.patching import patching
from flows.pathway import pathway
from flows.words import words
from pitboss.errors import BadInput
from tasks.study import read_study

ALL = [campaign, games, features, pathway, patching, words]


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
    with pytest.raises(BadInput, match="Use one of llama"):
        chosen("gemma", ["llama"], "features.models")
