"""The pages of the UI: those that the documentation shows, and no request to another machine."""

import prefect
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What a browser may load, in its own words; it asks no host that is not named here. Prefect's
# catalogue of blocks wants logos from two hosts, and an artifact's Markdown may name any.
# Styles and small pictures are written into the pages; a run's graph compiles its shaders and draws
# in a worker.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "frame-ancestors 'none'",
    )
)


class SameOrigin:
    """An application whose every answer carries the content security policy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = POLICY
            await send(message)

        await self._app(scope, receive, answer if scope["type"] == "http" else send)


def leave_out_the_second_ui() -> None:
    """Make this process's server offer Prefect's first UI alone, before its application is made.

    The second one advertises, starts a library of analytics whatever the settings say, and looks
    different from every picture of the documentation; a cookie would keep a browser there. Prefect
    leaves a UI out when its files are not where it looks.
    """
    prefect.__ui_v2_static_path__ /= "left out"
