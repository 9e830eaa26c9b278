"""Two studies in a results folder of their own, made once."""

from pathlib import Path

import pytest

from tests.api.made import make

OTHER = {
    (1, 7): {"exp2/safe": (9, 8), "exp2/risky": (10, 9)},
    (3, 12): {"exp2/safe": (2, 17), "exp2/risky": (1, 18)},
    (3, 13): {"exp2/safe": (5, 5), "exp2/risky": (6, 6)},
}


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of `small`, and of `other`: another seed, other answers, a feature more."""
    folder = tmp_path_factory.mktemp("results")
    make(folder, "small")
    make(folder, "other", OTHER, seed=5, patching={"trials": 40})
    return folder
