"""When a task is tried again, and when it need not run at all.

The truth about finished work is the study's store. Prefect keeps only a small JSON reference to
each finished part, under a path that reads like the part's own name, so that a second run shows
`Cached`.
"""

import socket
from collections.abc import Callable
from typing import Any, Protocol, TypedDict

import httpx
from prefect import Task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import State

from pitboss.errors import OutOfMemory
from pitboss.store import Store
from tasks.records import refuse_unless_json
from tasks.worker import GivenUp, end_if_asked

# Thirteen halvings bring 8,192 slots, the most that a study may ask for, down to one.
RETRIES = 13
# For a server or a network that is away; after these it is not tried again.
RETRY_DELAYS = [2.0, 5.0, 15.0, 30.0, 60.0, 120.0, 240.0]
# Fewer rows are the repair; there is nothing to wait for.
HALVED_DELAYS = [0.5]
SERVER_ERROR = 500


class Unit(Protocol):
    """One part of an experiment: its rows are determined by what its key is made of."""

    @property
    def kind(self) -> str: ...

    @property
    def key(self) -> str: ...

    def ref(self, store: Store) -> object | None: ...


# After these the device answers nothing more to this process; a new process may find it well.
DEVICE_LOST = (
    "an illegal memory access",
    "device-side assert",
    "unspecified launch failure",
    "misaligned address",
    "an illegal instruction",
    "invalid program counter",
    "hardware stack error",
    "uncorrectable ecc",
    "launch timed out",
    "gpu is lost",
    "cublas_status_execution_failed",
    "cublas_status_internal_error",
    "cudnn_status_execution_failed",
)
# What the driver and cuBLAS say where torch's own allocator was not asked.
NO_ROOM = ("cuda error: out of memory", "cublas_status_alloc_failed")


def is_out_of_memory(error: object) -> bool:
    """Whether the same work may fit with fewer rows at once."""
    import torch

    if isinstance(error, OutOfMemory | torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(w in str(error).lower() for w in NO_ROOM)


def is_device_lost(error: BaseException | None) -> bool:
    """Whether the error, or one behind it, leaves this process without a usable device."""
    while error is not None:
        text = str(error).lower()
        if isinstance(error, RuntimeError) and any(words in text for words in DEVICE_LOST):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_transient(error: object) -> bool:
    """Whether the world may be better in a minute: a network or a server that did not answer."""
    if isinstance(error, PrefectHTTPStatusError | httpx.HTTPStatusError):
        return error.response.status_code >= SERVER_ERROR
    return isinstance(
        error, httpx.TransportError | ConnectionError | TimeoutError | socket.gaierror
    )


def worth_retrying(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """The condition of every task: out of memory and transient errors only.

    It looks at the exception itself (`state.data`): `state.result()` would be a coroutine in an
    async task, which is never true. Everything else fails at once with its cause.

    Prefect reads the delay after it has asked here, and from this task, so it is set here too.
    """
    error = state.data
    if isinstance(error, GivenUp):
        return False
    if is_out_of_memory(error):
        _wait(task, HALVED_DELAYS)
        return True
    _wait(task, RETRY_DELAYS)
    return is_transient(error) and run.run_count <= len(RETRY_DELAYS)


def _wait(task: Task[..., Any], delays: list[float]) -> None:
    if isinstance(task.retry_delay_seconds, list):  # a single number was somebody's own wish
        task.retry_delay_seconds = delays


def content_path(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key of a task with the parameters `plan` and `unit`: a path that a person can read.

    Neither the run nor the number of slots is part of it: they do not change a byte of the result.
    """
    return _content_key(parameters["plan"].study, parameters["unit"])


def _content_key(study: Any, unit: Unit) -> str:
    return f"{study.name}/{unit.kind}/{unit.key}"


class StepOptions(TypedDict):
    """Options of a task that is simply done again when the flow is run again."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]
    cache_policy: CachePolicy
    persist_result: bool
    cache_result_in_memory: bool
    log_prints: bool


class PartOptions(TypedDict):
    """Options of a task that makes one part of the store."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]
    cache_key_fn: Callable[[TaskRunContext, dict[str, Any]], str | None]
    persist_result: bool
    result_serializer: str
    cache_result_in_memory: bool
    log_prints: bool


class FlowOptions(TypedDict):
    """Options of every flow."""

    persist_result: bool
    cache_result_in_memory: bool
    log_prints: bool


# A step looks into the store itself and is quick when there is nothing to do.
STEP: StepOptions = {
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAYS,
    "retry_condition_fn": worth_retrying,
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "cache_result_in_memory": False,
    "log_prints": True,
}

# What a part's task returns is a reference of a few hundred bytes, kept as JSON.
PART: PartOptions = {
    "retries": RETRIES,
    "retry_delay_seconds": RETRY_DELAYS,
    "retry_condition_fn": worth_retrying,
    "cache_key_fn": content_path,
    "persist_result": True,
    "result_serializer": "json",
    "cache_result_in_memory": False,
    "log_prints": True,
}

FLOW: FlowOptions = {"persist_result": False, "cache_result_in_memory": False, "log_prints": True}


def unless_stored(part: Task[[Any, Any], dict[str, Any]], plan: Any, unit: Unit) -> dict[str, Any]:
    """Run a part's task, or let Prefect show it as `Cached` if its part is in the store.

    A cached reference to a part that is gone or damaged is not believed: the store is the truth.

    Raises:
        Abort: The run was cancelled and no worker stopped it, so it ends between two parts, or in
            one that waits for memory.
        GivenUp: It waited for memory, and was asked to leave.
        BadInput: Prefect's stored reference names another serializer than JSON.
    """
    end_if_asked()
    refuse_unless_json(_content_key(plan.study, unit))
    gone = unit.ref(plan.store) is None
    try:
        return part.with_options(refresh_cache=gone)(plan, unit)
    except GivenUp:
        end_if_asked()
        raise
