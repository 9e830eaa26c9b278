"""The few questions `up` and `demo` ask the server, by plain HTTP.

`up` starts a server and must not read Prefect settings that were made for another one, so it does
not import Prefect at all; whatever needs the client runs as a process with our environment.
"""

import os
from collections.abc import Mapping
from typing import Any

import httpx

from deployments.settings import api_url

CLIENT = "pitboss"


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
        self._csrf = environ.get("PREFECT_SERVER_CSRF_PROTECTION_ENABLED") == "true"

    def healthy(self) -> bool:
        try:
            return self._client.get("/health", timeout=3).is_success
        except httpx.TransportError:
            return False

    def workers_online(self, pool: str) -> int:
        """How many workers poll this pool, by their last heartbeat."""
        answer = self._post(f"/work_pools/{pool}/workers/filter", {})
        return sum(worker["status"] == "ONLINE" for worker in answer)

    def forget_workers(self, pool: str) -> int:
        """Take a pool's workers off the record, where they count as online for a while longer."""
        path = f"/work_pools/{pool}/workers"
        workers = self._post(f"{path}/filter", {})
        for worker in workers:
            answer = self._client.delete(f"{path}/{worker['name']}", headers=self._token())
            answer.raise_for_status()
        return len(workers)

    def pools(self) -> list[str]:
        """The names of all work pools."""
        return [pool["name"] for pool in self._post("/work_pools/filter", {})]

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
        return int(self._answer("/flow_runs/count", asked))

    def _post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._answer(path, body)
        return rows

    def _answer(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._client.post(path, json=body, headers=self._token())
        answer.raise_for_status()
        return answer.json()

    def _token(self) -> dict[str, str]:
        """What a server with CSRF protection wants to see beside a POST; asked anew each time."""
        if not self._csrf:
            return {}
        answer = self._client.get("/csrf-token", params={"client": CLIENT})
        answer.raise_for_status()
        return {"Prefect-Csrf-Token": answer.json()["token"], "Prefect-Csrf-Client": CLIENT}
