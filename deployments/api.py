"""The few questions `up` and `demo` ask the server, by plain HTTP.

`up` starts a server and must not read Prefect settings that were made for another one, so it does
not import Prefect at all; whatever needs the client runs as a process with our environment.
"""

import os
from collections.abc import Mapping
from typing import Any

import httpx

from deployments.settings import api_url


class Api:
    """A server on the loopback interface."""

    def __init__(self, port: int, environ: Mapping[str, str] = os.environ) -> None:
        password = environ.get("PREFECT_API_AUTH_STRING")
        user, _, secret = (password or "").partition(":")
        self._client = httpx.Client(
            base_url=api_url(port),
            auth=(user, secret) if password else None,
            timeout=30,
            trust_env=False,  # a proxy in the environment must not see loopback calls
            transport=httpx.HTTPTransport(retries=3),
        )

    def healthy(self) -> bool:
        try:
            return self._client.get("/health", timeout=3).is_success
        except httpx.TransportError:
            return False

    def workers_online(self, pool: str) -> int:
        """How many workers poll this pool, by their last heartbeat."""
        answer = self._post(f"/work_pools/{pool}/workers/filter", {})
        return sum(worker["status"] == "ONLINE" for worker in answer)

    def flow_run(self, run_id: str) -> dict[str, Any]:
        answer = self._client.get(f"/flow_runs/{run_id}")
        answer.raise_for_status()
        run: dict[str, Any] = answer.json()
        return run

    def children(self, run_id: str) -> list[dict[str, Any]]:
        """The flow runs started by this one, oldest first."""
        asked = {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}}
        found = self._post("/flow_runs/filter", asked)
        return sorted(found, key=lambda run: run["created"])

    def waiting(self) -> int:
        """How many flow runs wait for a worker."""
        asked = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}}}
        count = self._client.post("/flow_runs/count", json=asked)
        count.raise_for_status()
        return int(count.json())

    def _post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        answer = self._client.post(path, json=body)
        answer.raise_for_status()
        rows: list[dict[str, Any]] = answer.json()
        return rows
