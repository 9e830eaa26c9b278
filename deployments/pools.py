"""Work pools, made and brought up to date without undoing what an operator did.

The command line's `work-pool create --overwrite` un-pauses a pool and clears its limit; through the
client a pool is created when missing, and otherwise only its template is replaced.
"""

import copy
from collections.abc import Sequence
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.process import ProcessWorker

from deployments.floor import Pool
from pitboss.errors import BadInput

# A flow process must outlive a killed worker; with streamed output it dies with the worker's pipe.
STREAM_OUTPUT = False
HEARTBEAT_SECONDS = "60"


def job_template(pool: Pool) -> dict[str, Any]:
    """Prefect's own process template with the pool's environment as default."""
    template = copy.deepcopy(ProcessWorker.get_default_base_job_template())
    variables = template["variables"]["properties"]
    variables["stream_output"]["default"] = STREAM_OUTPUT
    variables["env"]["default"] = pool.env | {
        "PITBOSS_POOL": pool.name,
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT_SECONDS,
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    return template


def ensure_pools(client: SyncPrefectClient, wanted: Sequence[Pool]) -> dict[str, str]:
    """Create missing pools and bring the templates of existing ones up to date.

    An operator's pause and concurrency limit survive; a pool without any limit gets ours back,
    because two runs at once on one GPU is never meant.

    Returns:
        For each pool name what was done: "created", "updated" or "unchanged".

    Raises:
        BadInput: A pool of that name has another type.
    """
    done = {}
    for pool in wanted:
        template = job_template(pool)
        try:
            existing = client.read_work_pool(pool.name)
        except ObjectNotFound:
            client.create_work_pool(
                WorkPoolCreate(
                    name=pool.name,
                    type=ProcessWorker.type,
                    description=pool.description,
                    base_job_template=template,
                    concurrency_limit=pool.limit,
                )
            )
            done[pool.name] = "created"
            continue
        if existing.type != ProcessWorker.type:
            raise BadInput(
                f"Work pool {pool.name!r} has type {existing.type!r}, not 'process'.",
                next=f"Delete it with `prefect work-pool delete {pool.name}` and start again.",
            )
        limit = existing.concurrency_limit
        update = WorkPoolUpdate(
            description=pool.description,
            base_job_template=template,
            concurrency_limit=pool.limit if limit is None else limit,
        )
        if (existing.description, existing.base_job_template, limit) == (
            update.description,
            update.base_job_template,
            update.concurrency_limit,
        ):
            done[pool.name] = "unchanged"
            continue
        client.update_work_pool(pool.name, update)
        done[pool.name] = "updated"
    return done
