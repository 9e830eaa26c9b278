"""Running a campaign's parts as flow runs of their own, in order, as many at once as may be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from prefect import Flow, State, runtime
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterParentFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelling

from flows.parts import Part
from pitboss.errors import BadInput, PitbossError

EVERY_SECONDS = 2.0
ONLINE = "ONLINE"
Start = Callable[[Part], FlowRun]
Look = Callable[[UUID], FlowRun]


@dataclass(frozen=True)
class Failure:
    """A part that did not complete, and why."""

    part: Part
    state: str
    message: str

    def __str__(self) -> str:
        return f"{self.part.name} on {self.part.pool}: {self.state}, {self.message}"


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
        workers = client.read_workers_for_work_pool(pool)
        if not any(worker.status == ONLINE for worker in workers):
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
            next="Name pools of this machine (see deployments/floor.toml), then run `make up`.",
        )


def conduct(client: SyncPrefectClient, parts: Sequence[Part], study: str) -> None:
    """Run the parts, each as soon as what it needs is complete, and wait for all of them.

    When a part fails, everything that does not need it still runs: that work is kept.

    Raises:
        PitbossError: At least one part did not complete; names each with its cause.
    """
    failures = run_in_order(
        parts,
        start=lambda part: start_run(part, study),
        look=lambda run_id: client.read_flow_run(run_id),
    )
    if failures:
        raise PitbossError(
            f"{len(failures)} of {len(parts)} parts did not complete: "
            + "; ".join(map(str, failures)),
            next="Correct the cause and run the campaign again; finished work is not repeated.",
        )


def start_run(part: Part, study: str) -> FlowRun:
    """Create a part's flow run, as a child of this one.

    The idempotency key makes a repeated request harmless; a campaign that is tried again asks under
    a new key, because the old run may have ended badly.
    """
    attempt = f"{runtime.flow_run.id}-{runtime.flow_run.run_count}"
    run = run_deployment(
        part.deployment,
        parameters={"study": study, **part.parameters},
        flow_run_name=f"{part.name} on {part.pool}",
        idempotency_key=f"{attempt}-{part.name}",
        timeout=0,
        as_subflow=True,
    )
    return cast(FlowRun, run)  # not a coroutine: there is no event loop here


def run_in_order(
    parts: Sequence[Part], *, start: Start, look: Look, every: float = EVERY_SECONDS
) -> list[Failure]:
    """Start parts when their needs are complete; return the failures once nothing runs any more."""
    logger = get_run_logger()
    waiting, running = list(parts), dict[UUID, Part]()
    complete: set[str] = set()
    failures: list[Failure] = []
    while True:
        never = _never(waiting, {failure.part.name for failure in failures})
        to_end = {part.name for part in (*waiting, *running.values())} - never
        for part in [p for p in waiting if _may_start(p, complete, to_end)]:
            waiting.remove(part)
            running[start(part).id] = part
            logger.info("Started %s on %s", part.name, part.pool)
        if not running:
            return failures + [Failure(part, "not started", _lacking(part)) for part in waiting]
        time.sleep(every)
        for run_id, part in list(running.items()):
            state = look(run_id).state
            if state is None or not state.is_final():
                continue
            del running[run_id]
            if state.is_completed():
                complete.add(part.name)
                logger.info("Completed %s", part.name)
            else:
                failures.append(Failure(part, state.name or state.type.value, state.message or ""))
                logger.error("%s", failures[-1])


def _may_start(part: Part, complete: set[str], to_end: set[str]) -> bool:
    return complete.issuperset(part.needs) and to_end.isdisjoint(part.after)


def _never(waiting: Sequence[Part], failed: set[str]) -> set[str]:
    """Names of waiting parts that cannot start any more, because what they need failed."""
    lost = set(failed)
    for _ in waiting:
        lost |= {part.name for part in waiting if lost.intersection(part.needs)}
    return lost


def _lacking(part: Part) -> str:
    return f"because it needs {', '.join(part.needs)}."


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
