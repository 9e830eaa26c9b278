"""Retries and caching, with real Prefect runs."""

import time
from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import flow_run
from prefect.states import Failed

from pitboss.errors import BadInput, Mismatch, OutOfMemory
from tasks import policies
from tasks.worker import GivenUp

QUICK = {**policies.PART, "retry_delay_seconds": 0}


class SomePlan:
    """A plan as tasks see it: the study's name, and what its store has."""

    def __init__(self, store: Any = None) -> None:
        self.study, self.store = SimpleNamespace(name="some"), store


@dataclass(frozen=True)
class SomeUnit:
    kind: str = "games"
    key: str = "llama/batch-0001-abc"

    def ref(self, store: Any) -> object | None:
        return store.ref(self.kind, self.key)


def states_of_tasks(run_id: str) -> list[str]:
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
        )
    return [run.state_name or "" for run in runs]


def test_the_second_call_is_cached_under_a_readable_path(prefect_api: Any, tmp_path: Any) -> None:
    calls = []

    @task(**QUICK)
    def part(plan: SomePlan, unit: SomeUnit, slots: int) -> dict[str, Any]:
        calls.append(slots)
        return {"key": unit.key, "rows": 3}

    @flow
    def twice(slots: int) -> Any:
        return part(SomePlan(), SomeUnit(), slots, return_state=True)

    first, second = twice(8), twice(4)
    assert (first.name, second.name) == ("Completed", "Cached")
    assert calls == [8]
    stored = tmp_path / "cache" / "some" / "games" / "llama" / "batch-0001-abc"
    assert stored.is_file()
    assert '"rows":3' in stored.read_text().replace(" ", "").replace("\\", "")
    assert second.result() == {"key": "llama/batch-0001-abc", "rows": 3}


@pytest.mark.parametrize(
    "error",
    [OutOfMemory("full"), torch.cuda.OutOfMemoryError("full"), httpx.ConnectError("away")],
)
def test_memory_and_transient_errors_are_tried_again(prefect_api: Any, error: Exception) -> None:
    attempts = []

    @task(**QUICK)
    def part(plan: SomePlan, unit: SomeUnit) -> int:
        attempts.append(1)
        if len(attempts) < 3:
            raise error
        return len(attempts)

    @flow
    def once() -> int:
        return part(SomePlan(), SomeUnit())

    assert once() == 3


def test_a_halved_retry_starts_at_once_and_a_transient_one_waits(prefect_api: Any) -> None:
    began: list[float] = []
    errors: list[Exception] = [OutOfMemory("full"), httpx.ConnectError("away"), OutOfMemory("full")]

    @task(**policies.PART)
    def part(plan: SomePlan, unit: SomeUnit) -> int:
        began.append(time.monotonic())
        if len(began) <= len(errors):
            raise errors[len(began) - 1]
        return len(began)

    @flow
    def once() -> int:
        return part(SomePlan(), SomeUnit(key="waits"))

    assert once() == 4
    halved, transient, halved_again = (b - a for a, b in pairwise(began))
    assert halved < 2.5 and halved_again < 2.5  # the delays for a server begin with 2 s, 5 s, 15 s
    assert transient > 4.5


def test_a_server_that_stays_away_ends_the_retries_before_memory_does() -> None:
    @task(**policies.PART)
    def part() -> None: ...

    def again(error: Exception, runs: int) -> bool:
        run = TaskRun(task_key="part", dynamic_key="0", run_count=runs)
        return policies.worth_retrying(part, run, Failed(data=error))

    assert [again(httpx.ConnectError("away"), runs) for runs in (1, 7, 8)] == [True, True, False]
    assert again(OutOfMemory("full"), 8)
    assert not again(GivenUp("cancelled"), 1)


@pytest.mark.parametrize(
    "error", [BadInput("wrong"), Mismatch("other"), ValueError("bug"), OSError(28, "disk full")]
)
def test_any_other_error_fails_at_once_with_its_cause(prefect_api: Any, error: Exception) -> None:
    attempts = []

    @task(**QUICK)
    def part(plan: SomePlan, unit: SomeUnit) -> int:
        attempts.append(flow_run.get_id())
        raise error

    @flow
    def once() -> int:
        return part(SomePlan(), SomeUnit())

    with pytest.raises(type(error), match=str(error.args[-1])):
        once()
    assert len(attempts) == 1
    assert states_of_tasks(attempts[0]) == ["Failed"]


def test_what_counts_as_transient() -> None:
    request = httpx.Request("GET", "http://127.0.0.1/")

    def answer(code: int) -> httpx.HTTPStatusError:
        return httpx.HTTPStatusError("", request=request, response=httpx.Response(code))

    assert policies.is_transient(answer(503))
    assert not policies.is_transient(answer(404))
    assert policies.is_transient(ConnectionResetError())
    assert not policies.is_transient(FileNotFoundError("weights"))


class SomeStore:
    """A store that has the part or lost it."""

    def __init__(self, has: bool) -> None:
        self.has = has

    def ref(self, kind: str, key: str) -> object | None:
        return object() if self.has else None


def test_a_cached_reference_to_a_lost_part_is_not_believed(prefect_api: Any) -> None:
    calls = []

    @task(**QUICK)
    def part(plan: SomePlan, unit: SomeUnit) -> dict[str, Any]:
        calls.append(unit.key)
        return {"key": unit.key}

    @flow
    def run(has: bool) -> None:
        policies.unless_stored(part, SomePlan(SomeStore(has)), SomeUnit())

    run(has=False)
    run(has=True)
    assert len(calls) == 1
    run(has=False)
    assert len(calls) == 2


def test_a_reference_that_would_be_unpickled_ends_the_run(prefect_api: Any, tmp_path: Any) -> None:
    @task(**QUICK)
    def part(plan: SomePlan, unit: SomeUnit) -> dict[str, Any]:
        return {"key": unit.key}

    @flow
    def run() -> None:
        policies.unless_stored(part, SomePlan(SomeStore(True)), SomeUnit())

    run()
    stored = tmp_path / "cache" / "some" / "games" / "llama" / "batch-0001-abc"
    stored.write_text(stored.read_text().replace('"json"', '"pickle"'))
    with pytest.raises(BadInput, match="pickle.*not made by this house"):
        run()
