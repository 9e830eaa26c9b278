"""Transactions that take turns at SQLite instead of failing with "database is locked".

Prefect's server opens a transaction where it may write, and begins it DEFERRED: as a reader. If
another connection writes meanwhile, the step from reader to writer fails with SQLITE_BUSY or
SQLITE_BUSY_SNAPSHOT. SQLite does not wait then, whatever the busy timeout, because what was read is
out of date; the server answers 503. Here a transaction takes the write lock at its beginning.

It waits for its turn in the event loop: first come, first served. SQLite only looks again and again
whether the lock is free, and a writer can be the unlucky one for the whole timeout of 60 s. Plain
reads use no transaction and wait for nobody.

Prefect has no setting for any of this, but lets one replace the configuration of its database.
"""

import asyncio
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.server.database.dependencies import MODELS_DEPENDENCIES
from prefect.server.utilities.database import get_dialect
from sqlalchemy import ExceptionContext, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, AsyncSessionTransaction


class Turns(AioSqliteConfiguration):
    """Prefect's SQLite, write-ahead log and busy timeout included, with one writer at a time."""

    def __init__(self, connection_url: str) -> None:
        super().__init__(connection_url)
        self._turn = asyncio.Lock()
        self._writer: asyncio.Task[Any] | None = None

    async def engine(self) -> AsyncEngine:
        """The engine of the running loop."""
        engine = await super().engine()
        if not event.contains(engine.sync_engine, "handle_error", let_go):
            event.listen(engine.sync_engine, "handle_error", let_go)
        return engine

    @asynccontextmanager
    async def begin_transaction(
        self, session: AsyncSession, with_for_update: bool = False
    ) -> AsyncGenerator[AsyncSessionTransaction, None]:
        """Enter a transaction that holds the write lock.

        Raises:
            RuntimeError: The task is inside such a transaction already and would wait for itself.
            sqlalchemy.exc.OperationalError: Something else than a transaction of this process has
                been writing for 60 s.
        """
        if self._writer is asyncio.current_task():
            raise RuntimeError("A transaction inside another one of the same task never ends.")
        async with self._turn:
            self._writer = asyncio.current_task()
            try:
                async with session.begin() as transaction:
                    # For this connection alone: whatever else is opened before the transaction
                    # ends would inherit the mode, and wait for the very lock that is held here.
                    outside = SQLITE_BEGIN_MODE.set("IMMEDIATE")
                    try:
                        await session.connection()
                    finally:
                        SQLITE_BEGIN_MODE.reset(outside)
                    yield transaction
            finally:
                self._writer = None


def let_go(context: ExceptionContext) -> None:
    """Free the cursor of a statement that failed, now that nobody uses its connection.

    Otherwise the error's frames hold it until Python collects them, maybe while the connection's
    thread waits inside SQLite for a single statement's write lock. Freeing it then waits for that
    thread with the interpreter's own lock in hand: the whole server stands still, the writer that
    has the lock included, until the busy timeout is over.
    """
    traceback.clear_frames(context.original_exception.__traceback__)


def take_turns(connection_url: str) -> None:
    """Make this process's server do so, before its application is made; nothing on PostgreSQL."""
    if get_dialect(connection_url).name == "sqlite":
        MODELS_DEPENDENCIES["database_config"] = Turns(connection_url)
