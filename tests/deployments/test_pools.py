"""Work pools on a real server: made once, brought up to date, never taken from an operator."""

from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

from deployments.floor import Pool
from deployments.pools import ensure_pools
from pitboss.errors import BadInput

POOL = Pool("test-gpu", 1, "A pool.", {"CUDA_VISIBLE_DEVICES": "3"})


def test_pools_are_made_once_and_a_pause_survives(prefect_api: Any) -> None:
    with get_client(sync_client=True) as client:
        assert ensure_pools(client, [POOL]) == {"test-gpu": "created"}
        assert ensure_pools(client, [POOL]) == {"test-gpu": "unchanged"}
        made = client.read_work_pool("test-gpu")
        variables = made.base_job_template["variables"]["properties"]
        assert (made.type, made.concurrency_limit) == ("process", 1)
        assert variables["env"]["default"]["CUDA_VISIBLE_DEVICES"] == "3"
        assert variables["stream_output"]["default"] is False
        operator_survives(client)


def operator_survives(client: SyncPrefectClient) -> None:
    paused = WorkPoolUpdate(is_paused=True, concurrency_limit=0)
    client.update_work_pool("test-gpu", paused)
    moved = Pool("test-gpu", 1, "A pool.", {"CUDA_VISIBLE_DEVICES": "5"})
    assert ensure_pools(client, [moved]) == {"test-gpu": "updated"}
    pool = client.read_work_pool("test-gpu")
    assert pool.is_paused
    assert pool.concurrency_limit == 0
    env = pool.base_job_template["variables"]["properties"]["env"]["default"]
    assert env["CUDA_VISIBLE_DEVICES"] == "5"


def test_a_pool_without_any_limit_gets_its_limit_back(prefect_api: Any) -> None:
    with get_client(sync_client=True) as client:
        pool = Pool("test-open", 1, "A pool.", {})
        client.create_work_pool(WorkPoolCreate(name="test-open", type="process"))
        ensure_pools(client, [pool])
        assert client.read_work_pool("test-open").concurrency_limit == 1


def test_a_pool_of_another_type_is_refused(prefect_api: Any) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="test-docker", type="docker"))
        with pytest.raises(BadInput, match="has type 'docker'"):
            ensure_pools(client, [Pool("test-docker", 1, "A pool.", {})])
