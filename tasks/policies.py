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
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext
from prefect.exceptions import PrefectHTTPStatusError
from prefect.states import State

from pitboss.errors import OutOfMemory, PitbossError

# Seven halvings bring 128 slots down to one. The waits are for a server or a network that is away.
RETRIES = 7
RETRY_DELAYS = [2, 5, 15, 30, 60, 120, 240]
SERVER_ERROR = 500


class Unit(Protocol):
    """One part of an experiment: its rows are determined by what its key is made of."""

    @property
    def kind(self) -> str: ...

    @property
    def key(self) -> str: ...


def is_out_of_memory(error: object) -> bool:
    """Whether the same work may fit with fewer rows at once."""
    import torch

    return isinstance(error, OutOfMemory | torch.cuda.OutOfMemoryError)


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
    """
    error = state.data
    if isinstance(error, PitbossError) and not isinstance(error, OutOfMemory):
        return False
    return is_out_of_memory(error) or is_transient(error)


def content_path(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    """The cache key of a task with the parameters `study` and `unit`: a path that a person can
    read.

    Neither the run nor the number of slots is part of it: they do not change a byte of the result.
    """
    unit: Unit = parameters["unit"]
    return f"{parameters['study'].name}/{unit.kind}/{unit.key}"


class TaskOptions(TypedDict):
    """Options shared by all tasks that make a part."""

    retries: int
    retry_delay_seconds: list[float]
    retry_condition_fn: Callable[[Task[..., Any], TaskRun, State[Any]], bool]
    cache_key_fn: Callable[[TaskRunContext, dict[str, Any]], str | None]
    persist_result: bool
    result_serializer: str
    cache_result_in_memory: bool
    log_prints: bool


# JSON for what a task returns (a reference of a few hundred bytes); nothing kept in memory.
PART: TaskOptions = {
    "retries": RETRIES,
    "retry_delay_seconds": [float(seconds) for seconds in RETRY_DELAYS],
    "retry_condition_fn": worth_retrying,
    "cache_key_fn": content_path,
    "persist_result": True,
    "result_serializer": "json",
    "cache_result_in_memory": False,
    "log_prints": True,
}
