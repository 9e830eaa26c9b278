"""Work pools on a real server: made once, brought up to date, never taken from an operator."""

import asyncio
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate

from deployments.floor import Pool
from deployments.pools import ensure_pools
from pitboss.errors import BadInput

LANE = Pool("test-lane", 1, "A lane.", {"CUDA_VISIBLE_DEVICES": "3"})


def test_pools_are_made_once_and_a_pause_survives(prefect_api: Any) -> None:
    async def scenario() -> None:
        async with get_client() as client:
            assert await ensure_pools(client, [LANE]) == {"test-lane": "created"}
            assert await ensure_pools(client, [LANE]) == {"test-lane": "unchanged"}
            made = await client.read_work_pool("test-lane")
            variables = made.base_job_template["variables"]["properties"]
            assert (made.type, made.concurrency_limit) == ("process", 1)
            assert variables["env"]["default"]["CUDA_VISIBLE_DEVICES"] == "3"
            assert variables["stream_output"]["default"] is False
            await operator_survives(client)

    asyncio.run(scenario())


async def operator_survives(client: PrefectClient) -> None:
    paused = WorkPoolUpdate(is_paused=True, concurrency_limit=0)
    await client.update_work_pool("test-lane", paused)
    moved = Pool("test-lane", 1, "A lane.", {"CUDA_VISIBLE_DEVICES": "5"})
    assert await ensure_pools(client, [moved]) == {"test-lane": "updated"}
    pool = await client.read_work_pool("test-lane")
    assert pool.is_paused
    assert pool.concurrency_limit == 0
    env = pool.base_job_template["variables"]["properties"]["env"]["default"]
    assert env["CUDA_VISIBLE_DEVICES"] == "5"


def test_a_lane_without_any_limit_gets_its_limit_back(prefect_api: Any) -> None:
    async def scenario() -> None:
        async with get_client() as client:
            lane = Pool("test-open", 1, "A lane.", {})
            await client.create_work_pool(WorkPoolCreate(name="test-open", type="process"))
            await ensure_pools(client, [lane])
            assert (await client.read_work_pool("test-open")).concurrency_limit == 1

    asyncio.run(scenario())


def test_a_pool_of_another_type_is_refused(prefect_api: Any) -> None:
    async def scenario() -> None:
        async with get_client() as client:
            await client.create_work_pool(WorkPoolCreate(name="test-docker", type="docker"))
            await ensure_pools(client, [Pool("test-docker", 1, "A lane.", {})])

    with pytest.raises(BadInput, match="has type 'docker'"):
        asyncio.run(scenario())
