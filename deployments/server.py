"""`python -m deployments.server`: what `prefect server start` runs, with `deployments.sqlite`."""

import sys

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

from deployments.sqlite import take_turns


def main() -> int:
    """Serve until a signal; address and everything else come from the environment."""
    take_turns(PREFECT_API_DATABASE_CONNECTION_URL.value())
    settings = get_current_settings().server
    uvicorn.run(
        create_app(final=True),
        host=settings.api.host,
        port=settings.api.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        log_level=settings.logging_level.lower(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
