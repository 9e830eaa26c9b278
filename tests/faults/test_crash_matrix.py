"""What becomes of a run when its worker, its process or its server goes: real ones, all at once.

Every row has a work pool, a worker and a run of its own, so that the rows wait side by side.
"""

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling

from deployments.floor import Pool
from deployments.pools import job_template
from deployments.processes import FLOW_RUN, all_carrying, start, stop, wait_until
from deployments.reconcile import Reconciler
from deployments.settings import ROOT
from tasks.worker import LEFT
from tests.conftest import Server
from tests.faults.shared_out import patching
from tests.floor.claimed import files, samples
from tests.store.samples import commit, store

UNITS = 60
SECONDS = 0.1
# A run that must still be at work when the others have ended.
LONG = 3000
GRACE = 15.0
PATIENCE = 120.0
ROWS = ("sigterm", "both-killed", "worker-killed", "orphan-cancelled", "pool-paused")


@dataclass
class Row:
    """One row's run, worker and store."""

    name: str
    folder: Path
    run: UUID
    worker: psutil.Process

    @property
    def finished(self) -> int:
        return len(list(self.folder.rglob("records/trials/**/*.json")))


class Matrix:
    """The rows, and what can be done to them."""

    def __init__(self, server: Server, client: SyncPrefectClient, folder: Path) -> None:
        self._server, self._client, self._folder = server, client, folder
        self.reconciler = Reconciler(client, server.place.home, ROWS, grace=GRACE)
        self.said: list[str] = []
        flow_id = client.create_flow(patching)
        self.rows = {name: self._make(name, flow_id) for name in ROWS}

    def _make(self, name: str, flow_id: UUID) -> Row:
        pool = Pool(name, 1, "A row of the crash matrix.", {"OMP_NUM_THREADS": "1"})
        self._client.create_work_pool(
            WorkPoolCreate(
                name=name, type="process", base_job_template=job_template(pool), concurrency_limit=1
            )
        )
        folder = self._folder / name
        deployment = self._client.create_deployment(
            flow_id=flow_id,
            name=name,
            work_pool_name=name,
            entrypoint="tests/faults/shared_out.py:patching",
            pull_steps=[
                {"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}
            ],
            enforce_parameter_schema=False,
        )
        units = LONG if name in ("orphan-cancelled", "pool-paused") else UNITS
        run = self._client.create_flow_run_from_deployment(
            deployment, parameters={"folder": str(folder), "units": units, "seconds": SECONDS}
        )
        return Row(name, folder, run.id, self.start_worker(name))

    def start_worker(self, pool: str) -> psutil.Process:
        started = start(
            "worker",
            pool,
            [sys.executable, "-m", "deployments.worker", "--pool", pool],
            env=self._server.env | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            log=self._folder / f"{pool}.log",
        )
        return psutil.Process(started.pid)

    def strike(self, row: Row) -> None:
        """The row's fault."""
        if row.name == "sigterm":
            row.worker.send_signal(signal.SIGTERM)
        elif row.name == "pool-paused":
            self._client.update_work_pool(row.name, WorkPoolUpdate(is_paused=True))
        else:
            row.worker.kill()
            row.worker.wait()
        if row.name == "both-killed":
            flow = self.process(row)
            assert flow is not None, self.told(row)
            flow.kill()
        elif row.name == "orphan-cancelled":
            self._client.set_flow_run_state(row.run, Cancelling(), force=True)

    def process(self, row: Row) -> psutil.Process | None:
        """The process of the row's run."""
        for process in all_carrying(self._server.state.token):
            if process.environ().get(FLOW_RUN) == str(row.run):
                return process
        return None

    def seen(self, row: Row) -> FlowRun:
        return self._client.read_flow_run(row.run)

    def is_now(self, row: Row, *names: str) -> bool:
        return self.seen(row).state_name in names

    def wait(self, row: Row, *names: str) -> FlowRun:
        """Let the reconciler look until the row's run is in one of the states."""

        def there() -> bool:
            self.said += self.reconciler.look()
            return self.is_now(row, *names)

        assert wait_until(there, seconds=PATIENCE, every=0.5), self.told(row)
        return self.seen(row)

    def told(self, row: Row) -> str:
        log = (self._folder / f"{row.name}.log").read_text(errors="replace")[-3000:]
        return f"{row.name} is {self.seen(row).state}; {self.said}\n{log}"


@pytest.fixture(scope="module")
def matrix(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    """All rows at work, with some units finished; then each row's fault happens."""
    with (
        temporary_settings(updates={PREFECT_API_URL: server.env["PREFECT_API_URL"]}),
        get_client(sync_client=True) as client,
    ):
        made = Matrix(server, client, tmp_path_factory.mktemp("matrix"))
        try:
            waiting = dict(made.rows)
            began = time.monotonic()
            while waiting:
                assert time.monotonic() - began < PATIENCE, made.told(next(iter(waiting.values())))
                for name in [name for name, row in waiting.items() if row.finished >= 2]:
                    made.strike(waiting.pop(name))
                time.sleep(0.1)
            yield made
        finally:
            ours = all_carrying(server.state.token)
            workers = [p for p in ours if "worker" in p.cmdline() or FLOW_RUN in p.environ()]
            stop(workers, signal.SIGKILL, patience=10)


def undisturbed(folder: Path) -> dict[str, bytes]:
    here = store(folder)
    for sample in samples(UNITS):
        commit(here, sample.number)
    return files(here)


def test_a_cancelled_orphan_stops_itself_within_seconds(matrix: Matrix) -> None:
    row, began = matrix.rows["orphan-cancelled"], time.monotonic()
    ended = matrix.wait(row, "Cancelled")
    assert time.monotonic() - began < 30
    assert "left to other workers: the run was set to Cancelling" in (ended.state.message or "")  # type: ignore[union-attr]
    assert wait_until(lambda: matrix.process(row) is None, seconds=20)


def test_a_run_whose_pool_is_paused_leaves_between_two_units(matrix: Matrix) -> None:
    row = matrix.rows["pool-paused"]
    ended = matrix.wait(row, LEFT)
    assert "somebody paused the work pool pool-paused" in (ended.state.message or "")  # type: ignore[union-attr]
    assert 2 <= row.finished < LONG


def test_a_run_outlives_its_worker(matrix: Matrix, tmp_path: Path) -> None:
    row = matrix.rows["worker-killed"]
    ended = matrix.wait(row, "Completed", "Crashed")
    assert ended.state_name == "Completed", matrix.told(row)
    assert ended.run_count == 1
    assert files(store(row.folder)) == undisturbed(tmp_path)


UNSEEN = ("sigterm", "both-killed")


@pytest.fixture(scope="module")
def resumed(matrix: Matrix) -> dict[str, int]:
    """Both runs that died unseen are scheduled again and have a new worker; units they had."""
    had = {}
    for name in UNSEEN:
        row = matrix.rows[name]
        assert wait_until(lambda row=row: matrix.process(row) is None, seconds=20), (  # type: ignore[misc]
            matrix.told(row)
        )
        assert matrix.wait(row, "AwaitingRetry").run_count == 1
        had[name] = row.finished
    for name in UNSEEN:
        matrix.start_worker(name)
    return had


@pytest.mark.parametrize("name", UNSEEN)
def test_a_run_that_died_unseen_is_resumed_by_the_next_worker(
    matrix: Matrix, resumed: dict[str, int], tmp_path: Path, name: str
) -> None:
    """The server says Running for ever, and its place in the pool stays taken."""
    row = matrix.rows[name]
    assert 2 <= resumed[name] < UNITS
    assert matrix.wait(row, "Completed").run_count == 2
    assert files(store(row.folder)) == undisturbed(tmp_path)
    assert any("Running, its process is gone; scheduled again" in said for said in matrix.said)
