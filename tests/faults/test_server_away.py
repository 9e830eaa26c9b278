"""The server is away while a run works, and when it wants to report its end."""

import os
import subprocess
import sys
from pathlib import Path

from prefect.client.orchestration import get_client

from deployments.processes import wait_until
from deployments.settings import ROOT, api_url
from tests.conftest import Server
from tests.faults.proxy import Proxy
from tests.floor.claimed import files, samples
from tests.store.samples import commit, store

UNITS = 20
RUN = """
import sys
from prefect import runtime
from tests.faults import shared_out

def say(*_):
    print(runtime.flow_run.id, flush=True)

shared_out.hold_pool = say
shared_out.patching(sys.argv[1], int(sys.argv[2]), 0.1)
"""


def test_a_run_works_on_and_reports_its_end_when_the_server_is_back(
    prefect_api: Server, tmp_path: Path
) -> None:
    """It also asks between any two units whether it should stop, and gets no answer."""
    with Proxy(prefect_api.state.port) as proxy:
        env = os.environ | prefect_api.env
        env |= {"PREFECT_API_URL": api_url(proxy.port), "PYTHONPATH": str(ROOT)}
        env |= {"PITBOSS_POOL": "some-pool", "PITBOSS_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        process = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path / "a"), str(UNITS)],
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        assert run
        proxy.away = True
        records = tmp_path / "a"
        assert wait_until(
            lambda: len(list(records.rglob("records/trials/**/*.json"))) == UNITS, seconds=60
        )
        refused = proxy.refused
        assert wait_until(lambda: proxy.refused > refused, seconds=60)  # its end is being refused
        assert process.poll() is None
        proxy.away = False
        assert process.wait(timeout=90) == 0
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).state_name == "Completed"  # type: ignore[arg-type]
    single = store(tmp_path / "b")
    for sample in samples(UNITS):
        commit(single, sample.number)
    assert files(store(tmp_path / "a")) == files(single)
