"""The shipped models, loaded once."""

import pytest

from pitboss.models.loading import LoadedModel, load_model


@pytest.fixture(scope="session", params=["pitboss/lab-llama", "pitboss/lab-gemma"])
def loaded(request) -> LoadedModel:
    return load_model(request.param)
