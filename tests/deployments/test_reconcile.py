"""Runs whose process is gone, as the reconciler sees them on a real server."""

import ast
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelling, Pending, Running, State

from deployments import reconcile
from deployments.floor import Pool
from deployments.reconcile import HOLDING, MAX_RUNS, PENDING_FACTOR, Reconciler, look_again
from deployments.settings import ROOT
from pitboss.errors import BadInput
from pitboss.experiments.registry import settings_types
from pitboss.floor.locks.kernel_lock import KernelLock, lock_path
from tasks.worker import CONTROL, lock_name

POOL = "reconciled"


@flow(name="patching")
def stands_for_patching() -> None:
    """Never run here: the tests say what became of it."""


@flow(name="somebody-elses")
def holds_no_lock() -> None:
    """A flow that Pitboss does not know."""


@pytest.fixture
def client(prefect_api: object) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as made:
        yield made


def start(client: SyncPrefectClient, state: State, of: object = stands_for_patching) -> UUID:
    """A run of a pool in some state."""
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    deployment = client.create_deployment(
        flow_id=client.create_flow(of),  # type: ignore[arg-type]
        name=POOL,
        work_pool_name=POOL,
    )
    run = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(run.id, Running(), force=True)
    client.set_flow_run_state(run.id, state, force=True)
    return run.id


def state(client: SyncPrefectClient, run: UUID) -> str:
    return client.read_flow_run(run).state_name or ""


def at_once(client: SyncPrefectClient, folder: Path, grace: float = 0) -> Reconciler:
    return Reconciler(client, folder, [POOL], grace=grace, once=True)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (Running(), "AwaitingRetry"),
        (Pending(), "AwaitingRetry"),
        (Pending(name="Submitting"), "AwaitingRetry"),
        (Cancelling(), "Cancelled"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_run_without_a_process_is_settled(
    client: SyncPrefectClient, tmp_path: Path, was: State, becomes: str
) -> None:
    run = start(client, was)
    [said] = at_once(client, tmp_path).look()
    assert str(was.name) in said
    assert state(client, run) == becomes
    assert at_once(client, tmp_path).look() == []
    if becomes == "AwaitingRetry":
        assert client.read_flow_run(run).next_scheduled_start_time is not None
        client.delete_flow_run(run)


@pytest.mark.parametrize("was", [Running(), Cancelling()], ids=lambda value: value.name)
def test_a_run_that_lives_is_left_alone_and_another_of_its_pool_is_not(
    client: SyncPrefectClient, tmp_path: Path, was: State
) -> None:
    living, dead = start(client, was), start(client, Cancelling())
    with KernelLock(lock_path(tmp_path, POOL)) as lock:
        lock.release()
        lock.acquire(str(living))
        assert len(at_once(client, tmp_path).look()) == 1
    assert (state(client, living), state(client, dead)) == (was.name, "Cancelled")
    client.delete_flow_run(living)


def test_nothing_is_settled_within_the_grace(client: SyncPrefectClient, tmp_path: Path) -> None:
    run = start(client, Running())
    assert at_once(client, tmp_path, grace=60).look() == []
    assert state(client, run) == "Running"
    client.delete_flow_run(run)


def test_a_jumping_clock_ends_no_run_at_the_first_look(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    run, now = start(client, Running()), [0.0]
    jumped = Reconciler(client, tmp_path, [POOL], grace=-3600, clock=lambda: now[0])
    patient = Reconciler(client, tmp_path, [POOL], grace=3600, clock=lambda: now[0])
    assert jumped.look() == []  # old by the server's time, but seen dead once only
    for moment in (0, 30, 3599):
        now[0] = moment
        assert patient.look() == []
    now[0] = 3600  # by our own clock, though by the server's it has just begun
    assert patient.look()
    assert state(client, run) == "AwaitingRetry"
    client.delete_flow_run(run)


def test_pools_that_the_floor_gets_later_are_looked_at_and_those_it_had_still_are(
    client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(client, Cancelling())
    reconciler = Reconciler(client, tmp_path, ["another"], grace=0, once=True)
    assert look_again(reconciler) == []
    monkeypatch.setattr(reconcile, "this_floor", lambda: [Pool(POOL, 1, "Later.", {})])
    assert len(look_again(reconciler)) == 1
    assert state(client, run) == "Cancelled"

    def being_edited() -> list[Pool]:
        raise BadInput("The floor file cannot be read.")

    monkeypatch.setattr(reconcile, "this_floor", being_edited)
    run = start(client, Cancelling())
    assert "cannot be read" in look_again(reconciler)[0]
    assert state(client, run) == "Cancelled"


def test_a_process_that_takes_its_time_to_start_is_waited_for(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    run, now = start(client, Pending()), [0.0]
    reconciler = Reconciler(client, tmp_path, [POOL], grace=60, clock=lambda: now[0])
    for moment in (0, 30, 61, 100):
        now[0] = moment
        assert reconciler.look() == []
    now[0] = 60 * PENDING_FACTOR
    assert reconciler.look()
    client.delete_flow_run(run)


def test_a_run_that_dies_again_and_again_stays_dead(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    run = start(client, Running())
    reconciler = at_once(client, tmp_path)
    said = []
    while state(client, run) != "Crashed":
        said += reconciler.look()
        if state(client, run) == "AwaitingRetry":
            client.set_flow_run_state(run, Running(), force=True)
    assert 1 < len(said) <= MAX_RUNS and "now Crashed" in said[-1]


def test_flows_that_hold_no_lock_are_none_of_its_business(
    client: SyncPrefectClient, tmp_path: Path
) -> None:
    run = start(client, Running(), of=holds_no_lock)
    assert at_once(client, tmp_path).look() == []
    assert state(client, run) == "Running"


def test_every_flow_that_begins_a_study_is_known_to_hold_a_lock() -> None:
    """Flows of a kind of experiment begin in `perform`, which their factory calls."""
    begins = set()
    for path in (ROOT / "flows").glob("*.py"):
        calls = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
        ]
        if any(isinstance(call.func, ast.Name) and call.func.id == "begin" for call in calls):
            begins.add(path.stem)
    assert begins == {"campaign", "perform"}
    assert set(HOLDING) == {"campaign", *(kind.flow for kind in settings_types().values())}


def test_a_campaign_has_a_lock_of_its_own_because_several_run_at_once(tmp_path: Path) -> None:
    assert lock_name("gpu-0", "a") == lock_name("gpu-0", "b")
    with KernelLock(lock_path(tmp_path, lock_name(CONTROL, "a"))):
        assert KernelLock(lock_path(tmp_path, lock_name(CONTROL, "b"))).try_acquire()
