"""A schedule that is switched on makes runs: server and locked libraries go together."""

from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import CronSchedule

from deployments.processes import wait_until
from flows.watch import watch


def test_a_schedule_that_is_switched_on_makes_runs(prefect_api: Any) -> None:
    every_minute = CronSchedule(cron="* * * * *", timezone="UTC")
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(watch),
            name="every-minute",
            schedules=[DeploymentScheduleCreate(schedule=every_minute, active=False)],
        )

        def runs() -> list[Any]:
            mine = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            return client.read_flow_runs(deployment_filter=mine)

        assert not runs()
        [schedule] = client.read_deployment_schedules(deployment)
        client.update_deployment_schedule(deployment, schedule.id, active=True)
        assert wait_until(lambda: len(runs()) > 1, seconds=30)
        assert {run.state_name for run in runs()} == {"Scheduled"}
        client.delete_deployment(deployment)
