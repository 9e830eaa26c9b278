"""The process that tells the server what it must know, as `up` runs it."""

import os
import time
from pathlib import Path

import pytest

from deployments.processes import TOKEN, all_carrying
from deployments.settings import ROOT, House, process_env
from deployments.setup_process import Setup
from pitboss.errors import Incomplete

NOBODY = 9  # a port on which no server answers


@pytest.fixture
def place(tmp_path: Path) -> House:
    made = House(ROOT, tmp_path / "home", tmp_path / "results")
    made.prepare()
    return made


def test_what_it_says_when_it_fails_is_what_up_says(place: House) -> None:
    with Setup(process_env(place, NOBODY), place, ["work pool"]) as setup:
        setup.begin()
        with pytest.raises(Incomplete, match="there is no step work pool; known: work pools"):
            setup.next()


def test_it_ends_with_its_block_when_the_server_does_not_start(place: House) -> None:
    token = f"setup-{os.getpid()}"
    env = process_env(place, NOBODY) | {TOKEN: token}
    began = time.monotonic()
    with pytest.raises(Incomplete, match="no server"), Setup(env, place, ["work pools"]):
        assert len(all_carrying(token)) == 1
        raise Incomplete("no server")
    assert all_carrying(token) == [] and time.monotonic() - began < 30
