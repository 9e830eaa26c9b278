"""`python -m bench.prefect_scale`: what a plan-size campaign costs Prefect, compressed in time.

Four runs at once, each with its share of the plan's chunks, do for every chunk what a patching run
does (a stored task, a checkpoint table, progress, log lines), with a short sleep in place of the
GPU's hours. Then the heartbeats of the days that were skipped are sent as events. Needs a running
house (`make up`, with either profile), and prints JSON: milliseconds that Prefect adds to a chunk,
growth of the database, memory of the server, and its latency meanwhile.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from deployments.api import Api
from deployments.environment import POSTGRES_PASSWORD, POSTGRES_PORT, USER, keep_secrets
from deployments.processes import TOKEN
from deployments.profiles import FLOOR, environments
from deployments.profiles.postgres import DATABASE
from deployments.settings import HOST, House, house
from deployments.state import Up, read_state
from pitboss.errors import BadInput

LANES = 4
CHUNKS = 93
FEATURES = 100
LINES = 5
# What a run of eight days sends: one heartbeat a minute (deployments/pools.py).
HEARTBEATS_A_DAY = 24 * 60
# What is queued is written when the database has not grown for so long; given up after MOST.
SETTLE, MOST = 20.0, 600.0


def lane(index: int, chunks: int, seconds: float) -> float:
    """One run's chunks; returns the wall seconds inside the flow."""
    from prefect import flow, task

    from tasks.artifacts import Progress, show_table
    from tasks.policies import FLOW

    run = f"{os.getpid()}"
    rows = [{"layer": 12, "feature": n, "risky safe": 0.25, "safe": 0.5} for n in range(FEATURES)]

    @task(
        task_run_name="patch {chunk}",
        cache_key_fn=lambda context, given: f"scale/{run}/{given['chunk']}",
        persist_result=True,
        result_serializer="json",
        cache_result_in_memory=False,
        log_prints=True,
    )
    def chunk_of_features(chunk: int) -> dict[str, Any]:
        for line in range(LINES):
            print(f"chunk {chunk}, line {line}: rows, seconds, rows per second of this batch")
        time.sleep(seconds)
        return {"path": f"parts/trials/{chunk}.parquet", "rows": 100 * 2 * 3 * 20}

    @flow(name="scale", flow_run_name=f"scale {index}", **FLOW)
    def campaign() -> None:
        bar = Progress(f"scale-{run}", "Chunks", chunks)
        for chunk in range(chunks):
            chunk_of_features(chunk)
            show_table(f"scale-chunk-{run}-{chunk}", rows, "Chunk, finished and stored")
            bar.advance(note=f"chunk {chunk}")

    began = time.perf_counter()
    campaign()
    return time.perf_counter() - began


def heartbeats(count: int) -> None:
    """Send as many heartbeats as the skipped time would have brought, in Prefect's own form."""
    from uuid import uuid4

    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    run = f"prefect.flow-run.{uuid4()}"
    related = [
        {"prefect.resource.id": f"prefect.{kind}.{uuid4()}", "prefect.resource.role": kind}
        for kind in ("flow", "deployment", "work-queue", "work-pool")
    ]
    for _ in range(count):
        emit_event(
            "prefect.flow-run.heartbeat",
            {"prefect.resource.id": run, "prefect.resource.name": "scale"},
            related=related,
        )
    EventsWorker.instance().drain()


class Watch:
    """Asks the server a usual question again and again and keeps how long it took."""

    def __init__(self, api: Api, server: psutil.Process) -> None:
        self._api, self._server = api, server
        self.milliseconds: list[float] = []
        self.most = 0

    def until(self, done: Callable[[], bool]) -> None:
        while not done():
            began = time.perf_counter()
            self._api.waiting()
            self.milliseconds.append((time.perf_counter() - began) * 1000)
            self.most = max(self.most, memory(self._server))
            time.sleep(0.25)

    def figures(self) -> dict[str, float]:
        if len(self.milliseconds) < 2:
            return {"requests": len(self.milliseconds)}
        cuts = statistics.quantiles(self.milliseconds, n=20)
        return {
            "requests": len(self.milliseconds),
            "median_ms": round(cuts[9], 1),
            "p95_ms": round(cuts[18], 1),
            "most_ms": round(max(self.milliseconds), 1),
            "server_MB": round(self.most / 1e6),
        }


def memory(server: psutil.Process) -> int:
    """Resident bytes of the server and what it started."""
    return sum(p.memory_info().rss for p in (server, *server.children(recursive=True)))


def database_bytes(place: House, state: Up) -> int:
    if state.profile == FLOOR:
        return asyncio.run(_postgres_bytes(place))
    return sum(path.stat().st_size for path in place.prefect_home.glob("prefect.db*"))


def settled_bytes(place: House, state: Up) -> int:
    began = changed = time.monotonic()
    last = database_bytes(place, state)
    while time.monotonic() - changed < SETTLE and time.monotonic() - began < MOST:
        time.sleep(1)
        if (now := database_bytes(place, state)) != last:
            last, changed = now, time.monotonic()
    return last


async def _postgres_bytes(place: House) -> int:
    kept = keep_secrets(place)
    connection = await asyncpg.connect(
        host=HOST,
        port=int(kept[POSTGRES_PORT]),
        user=USER,
        password=kept[POSTGRES_PASSWORD],
        database=DATABASE,
    )
    try:
        return int(await connection.fetchval("select pg_database_size($1)", DATABASE))
    finally:
        await connection.close()


def run(arguments: list[str], env: dict[str, str], place: House) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.prefect_scale", *arguments]
    return subprocess.Popen(command, env=env, cwd=place.root, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate()
    if process.returncode:
        raise BadInput(f"A lane ended with exit code {process.returncode}; see its output above.")
    return output.strip().splitlines()[-1] if output.strip() else ""


def measure(place: House, chunks: int, seconds: float, days: float) -> dict[str, Any]:
    """
    Raises:
        BadInput: No house is running, or a lane failed.
    """
    if (state := read_state(place)) is None:
        raise BadInput("No house is running.", where=str(place.home), next="make up")
    env = environments(state.profile, place, state.port).client | {TOKEN: state.token}
    env["OMP_NUM_THREADS"] = "1"
    server = next(p.process(state.token) for p in state.processes if p.role == "server")
    assert server is not None
    api = Api(state.port, env)
    at_rest, before = memory(server), database_bytes(place, state)

    working = Watch(api, server)
    lanes = [run(["--lane", str(i), *_size(chunks, seconds)], env, place) for i in range(LANES)]
    working.until(lambda: all(process.poll() is not None for process in lanes))
    walls = [float(told(process)) for process in lanes]
    campaign = settled_bytes(place, state)

    beating = Watch(api, server)
    count = int(days * HEARTBEATS_A_DAY)
    senders = [run(["--heartbeats", str(count)], env, place) for _ in range(LANES if count else 0)]
    beating.until(lambda: all(process.poll() is not None for process in senders))
    for process in senders:
        told(process)
    end = settled_bytes(place, state)
    return {
        "profile": state.profile,
        "chunks": chunks * LANES,
        "overhead_ms_per_chunk": round((statistics.mean(walls) / chunks - seconds) * 1000, 1),
        "database_MB_before": round(before / 1e6, 1),
        "database_MB_for_chunks": round((campaign - before) / 1e6, 1),
        "heartbeats": count * LANES,
        "database_MB_for_heartbeats": round((end - campaign) / 1e6, 1),
        "server_MB_at_rest": round(at_rest / 1e6),
        "while_working": working.figures(),
        "while_heartbeats": beating.figures(),
    }


def _size(chunks: int, seconds: float) -> list[str]:
    return ["--chunks", str(chunks), "--seconds", str(seconds)]


def main() -> int:
    parser = argparse.ArgumentParser(description="What a plan-size campaign costs Prefect.")
    parser.add_argument("--chunks", type=int, default=CHUNKS, help="Chunks of each of four lanes.")
    parser.add_argument("--seconds", type=float, default=0.5, help="Seconds instead of a chunk.")
    parser.add_argument("--days", type=float, default=3.0, help="Days' heartbeats; 3 are kept.")
    parser.add_argument("--out", type=Path, help="Where to keep the figures.")
    parser.add_argument("--lane", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--heartbeats", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.lane is not None:
        print(lane(asked.lane, asked.chunks, asked.seconds))
    elif asked.heartbeats is not None:
        heartbeats(asked.heartbeats)
    else:
        text = json.dumps(measure(house(), asked.chunks, asked.seconds, asked.days), indent=2)
        print(text)
        if asked.out:
            asked.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
