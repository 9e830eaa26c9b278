"""One small random model of every family, and prompts for them."""

import pytest

from pitboss.models.loading import LoadedModel
from tests.engine.families import FAMILIES, random_model, random_prompts


@pytest.fixture(scope="session", params=list(FAMILIES))
def loaded(request: pytest.FixtureRequest) -> LoadedModel:
    return random_model(request.param)


@pytest.fixture(scope="session")
def prompts() -> list[tuple[int, ...]]:
    return random_prompts()
