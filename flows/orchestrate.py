"""Running a campaign's parts as flow runs of their own, in order, as many at once as may be."""

from collections.abc import Callable, Sequence
from typing import Any, cast
from uuid import UUID

from prefect import Flow, State, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling

from flows.dag import run_in_order
from flows.parameters import named
from flows.parts import Part
from pitboss.errors import BadInput, PitbossError
from tasks.worker import CONTROL

ONLINE = "ONLINE"


def require_pools(client: SyncPrefectClient, parts: Sequence[Part]) -> None:
    """Refuse a campaign whose pools, workers or deployments are not there, before any work.

    Raises:
        BadInput: Names every pool that is missing or has no worker, and every deployment missing.
    """
    problems = []
    for pool in dict.fromkeys(part.pool for part in parts):
        try:
            client.read_work_pool(pool)
        except ObjectNotFound:
            problems.append(f"there is no work pool {pool!r}")
            continue
        if not _has_worker(client, pool):
            problems.append(f"no worker polls the work pool {pool!r}")
    for deployment in dict.fromkeys(part.deployment for part in parts):
        try:
            client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            problems.append(f"there is no deployment {deployment!r}")
    if problems:
        raise BadInput(
            f"The campaign cannot run on this floor: {'; '.join(problems)}.",
            where="floor section of the study",
            next="Name pools of this machine (see deployments/floor.toml), or leave the section "
            "out to use every worker there is; then run `make up`.",
        )


def workers_on(client: SyncPrefectClient) -> list[str]:
    """Names of the work pools that have a worker, but for the one of campaigns themselves."""
    pools = sorted(pool.name for pool in client.read_work_pools() if pool.name != CONTROL)
    return [pool for pool in pools if _has_worker(client, pool)]


def _has_worker(client: SyncPrefectClient, pool: str) -> bool:
    return any(w.status == ONLINE for w in client.read_workers_for_work_pool(pool))


def orchestrate(
    client: SyncPrefectClient,
    parts: Sequence[Part],
    study: str,
    tell: Callable[[], None] = lambda: None,
) -> None:
    """Run the parts, each as soon as what it needs is complete, and wait for all of them.

    When a part fails, everything that does not need it still runs: that work is kept. A part whose
    process dies is started again, and a shared experiment goes on as long as one of its parts
    does. `tell` is called again and again meanwhile.

    Raises:
        PitbossError: At least one part did not complete; names each with its cause.
    """
    failures = run_in_order(parts, ServersFloor(client, study), tell=tell)
    if failures:
        raise PitbossError(
            f"{len(failures)} of {len(parts)} parts did not complete: "
            + "; ".join(map(str, failures)),
            next="Correct the cause and run the campaign again; finished work is not repeated.",
        )


class ServersFloor:
    """The floor as the server knows it: work pools, and flow runs as children of this one."""

    def __init__(self, client: SyncPrefectClient, study: str) -> None:
        self._client, self._study = client, study

    def start(self, part: Part, number: int) -> FlowRun:
        return start_run(part, self._study, number)

    def look(self, run: UUID) -> FlowRun:
        return self._client.read_flow_run(run)

    def paused(self, pool: str) -> bool:
        return self._client.read_work_pool(pool).is_paused

    def withdraw(self, run: UUID) -> None:
        message = "Other workers have finished everything."
        self._client.set_flow_run_state(run, Cancelled(message=message))


def start_run(part: Part, study: str, number: int = 1) -> FlowRun:
    """Create a part's flow run, as a child of this one.

    The idempotency key makes a repeated request harmless; a campaign that is tried again asks under
    a new key, because the old run may have ended badly, and so does one that starts a part again.
    """
    attempt = f"{runtime.flow_run.id}-{runtime.flow_run.run_count}"
    run = run_deployment(
        part.deployment,
        parameters={"study": study, **part.parameters},
        flow_run_name=named(part.flow, {"study": study, **part.parameters}, part.pool),
        idempotency_key=f"{attempt}-{part.name}-{number}",
        timeout=0,
        as_subflow=True,
    )
    return cast(FlowRun, run)  # not a coroutine: there is no event loop here


def cancel_parts(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """When a campaign is cancelled, so are its parts; a hook of the campaign flow."""
    children = FlowRunFilter(
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[flow_run.id]),
    )
    with get_client(sync_client=True) as client:
        for child in client.read_flow_runs(flow_run_filter=children):
            if child.state is not None and not child.state.is_final():
                client.set_flow_run_state(
                    child.id, Cancelling(message="The campaign was cancelled.")
                )
