"""`python -m deployments.server`: what `prefect server start` runs, and three things of ours.

Prefect has no setting for them: transactions on SQLite take turns (see `deployments.sqlite`), there
is one UI, and no page of it makes a browser talk to another machine (see `deployments.pages`).
"""

import sys

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, get_current_settings

from deployments.pages import SameOrigin, leave_out_the_second_ui
from deployments.sqlite import take_turns


def main() -> int:
    """Serve until a signal; address and everything else come from the environment."""
    take_turns(PREFECT_API_DATABASE_CONNECTION_URL.value())
    leave_out_the_second_ui()
    settings = get_current_settings().server
    config = uvicorn.Config(
        SameOrigin(create_app(final=True)),
        host=settings.api.host,
        port=settings.api.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        log_level=settings.logging_level.lower(),
    )
    # The port is taken before the database is made, which lasts: two servers that are started at
    # the same time must not both find it free. A port that is bound and not listened at is free.
    taken = config.bind_socket()
    taken.listen()
    uvicorn.Server(config).run(sockets=[taken])
    return 0


if __name__ == "__main__":
    sys.exit(main())
