"""The small study, carried out once for all tests of the experiments."""

import fcntl
import os
from collections.abc import Iterator

import pytest
import torch

from pitboss.experiments.runtime.context import ModelContext, open_context
from tests.experiments.small import ALIAS, Whole, run_everything, small_plan, small_study


@pytest.fixture(scope="session")
def context() -> Iterator[ModelContext]:
    """The lab's LLaMA on the CPU, on one thread: its matrices are too small for two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield open_context(small_study(), ALIAS, "cpu")
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def whole(context: ModelContext, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A finished study. Tests read it; one that changes files works on a copy.

    The workers of one test run share it: the first carries it out, the others find it finished.
    """
    mine = tmp_path_factory.getbasetemp()
    results = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "small"
    results.mkdir(exist_ok=True)
    with (results / "one-at-a-time").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        plan = small_plan(results)
        run_everything(plan, context)
    return Whole(plan, context)
