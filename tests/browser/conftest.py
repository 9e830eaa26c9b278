"""A browser for the tests of this folder, which are skipped where there is none."""

import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if chromium.PROGRAM is None:
        pytest.skip("no chromium or google-chrome on this machine")
    if importlib.util.find_spec("playwright") is None:
        pytest.skip("playwright is not installed")
    with chromium.started() as browser:
        yield browser
