"""Nobody is told that the database is locked: neither one transaction nor hundreds of writes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from deployments.sqlite import Turns

WRITES = 200
CLIENTS = 6


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/counter.db"


@asynccontextmanager
async def transaction(database: AioSqliteConfiguration) -> AsyncIterator[AsyncSession]:
    session = await database.session(await database.engine())
    async with session, database.begin_transaction(session):
        yield session


async def value(session: AsyncSession) -> int:
    return int((await session.execute(text("SELECT value FROM counter"))).scalar_one())


async def add_one(session: AsyncSession) -> None:
    """Read first, then write: what most of the server's transactions do."""
    changed = await value(session) + 1
    await session.execute(text("UPDATE counter SET value = :value"), {"value": changed})


async def begin(database: AioSqliteConfiguration) -> None:
    async with transaction(database) as session:
        await session.execute(text("CREATE TABLE counter (value INTEGER)"))
        await session.execute(text("INSERT INTO counter VALUES (0)"))


def test_a_transaction_of_prefects_own_fails_when_another_wrote_meanwhile(url: str) -> None:
    """Why there are turns: it fails at once, in spite of a busy timeout of a minute."""

    async def interleaved() -> None:
        prefects = AioSqliteConfiguration(url)
        await begin(prefects)
        async with transaction(prefects) as one:
            assert await value(one) == 0
            async with transaction(prefects) as other:
                await add_one(other)
            await add_one(one)

    with pytest.raises(OperationalError) as raised:
        asyncio.run(interleaved())
    assert raised.value.orig.sqlite_errorname == "SQLITE_BUSY_SNAPSHOT"  # type: ignore[union-attr]


def test_transactions_that_read_first_take_turns(url: str) -> None:
    async def all_at_once() -> int:
        database = Turns(url)
        await begin(database)

        async def one() -> None:
            async with transaction(database) as session:
                await add_one(session)

        await asyncio.gather(*(one() for _ in range(20)))
        async with transaction(database) as session:
            return await value(session)

    assert asyncio.run(all_at_once()) == 20


def test_a_read_inside_a_transaction_does_not_wait_and_a_second_transaction_is_refused(
    url: str,
) -> None:
    async def nested() -> int:
        database = Turns(url)
        await begin(database)
        async with transaction(database) as session:
            await add_one(session)
            async with await database.session(await database.engine()) as reader:
                seen = await value(reader)
            with pytest.raises(RuntimeError, match="inside another"):
                async with transaction(database):
                    pass
        return seen

    assert asyncio.run(asyncio.wait_for(nested(), timeout=30)) == 0


def writes(pool: str, deployment: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Small changes that the server reads for before it writes; one in five is refused as a twin.

    A refused one leaves a cursor behind, which must not make the server stand still.
    """
    far = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
    for number in count():
        yield "PATCH", f"/work_pools/{pool}", {"is_paused": bool(number % 2)}
        yield "PATCH", f"/deployments/{deployment}", {"tags": [f"tag-{number}"]}
        yield "POST", f"/deployments/{deployment}/create_flow_run", {"state": far}
        yield "POST", "/artifacts/", {"key": "small", "type": "markdown", "data": str(number)}
        yield "POST", "/variables/", {"name": "twin", "value": number}


def test_hundreds_of_writes_of_some_clients_at_once_all_succeed(server: Any) -> None:
    async def write_all() -> Counter[tuple[str, int]]:
        # A new connection each time: after an error the server closes the old one.
        async with httpx.AsyncClient(
            base_url=server.env["PREFECT_API_URL"],
            timeout=45,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client:

            async def make(path: str, body: dict[str, Any]) -> dict[str, Any]:
                answer = await client.post(path, json=body)
                made: dict[str, Any] = answer.raise_for_status().json()
                return made

            pool = await make("/work_pools/", {"name": "busy", "type": "process"})
            flow = await make("/flows/", {"name": "busy"})
            body = {"name": "busy", "flow_id": flow["id"], "work_pool_name": "busy"}
            deployment = await make("/deployments/", body)
            asked = writes(pool["name"], deployment["id"])
            answers: Counter[tuple[str, int]] = Counter()

            async def keep_writing() -> None:
                while answers.total() < WRITES:
                    method, path, body = next(asked)
                    answer = await client.request(method, path, json=body)
                    answers[path.rsplit("/", 1)[0] or path, answer.status_code] += 1

            clients: list[Coroutine[Any, Any, None]] = [keep_writing() for _ in range(CLIENTS)]
            await asyncio.gather(*clients)
            return answers

    answers = asyncio.run(write_all())
    twins = answers.pop(("/variables", 409))
    assert twins > WRITES / 6
    assert {status for _, status in answers} <= {200, 201, 204}, answers
