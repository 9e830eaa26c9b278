"""The UI in a browser: it opens as documented, and no request of it leaves the machine."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.utilities.callables import parameter_schema

from deployments.automations import ensure_automations
from deployments.floor import Pool
from deployments.pools import ensure_pools
from flows.experiments import patching

ELSEWHERE = "https://elsewhere.example/picture.png"
OFFERS = ("Upgrade", "Join the", "V2 UI", "Ready to scale")


@pytest.fixture
def address(prefect_api: Any) -> str:
    return f"http://127.0.0.1:{prefect_api.state.port}"


class Heard:
    """Every request of a page, by whether the browser sent it or the policy stopped it."""

    def __init__(self, page: Any) -> None:
        self.asked: set[str] = set()
        self.stopped: set[str] = set()
        self.broken: list[str] = []
        page.on("request", lambda request: self.asked.add(request.url))
        page.on("requestfailed", self._failed)
        page.on("websocket", lambda socket: self.asked.add(socket.url))
        page.on("pageerror", lambda error: self.broken.append(str(error)))

    def _failed(self, request: Any) -> None:
        if request.failure == "csp":
            self.stopped.add(request.url)

    @property
    def hosts(self) -> set[str | None]:
        """Where requests went; what a page made itself has no host."""
        sent = {urlsplit(url) for url in self.asked - self.stopped}
        return {url.hostname for url in sent if url.scheme not in ("data", "blob")}


def test_no_page_asks_another_machine(browser: Any, address: str) -> None:
    with get_client(sync_client=True) as client:
        ensure_pools(client, [Pool("gpu-0", 1, "One run at a time on GPU 0.", {})])
        ensure_automations(client)
        deployment = client.create_deployment(
            client.create_flow(patching),
            name="looked-at",
            paused=True,
            work_pool_name="gpu-0",
            parameter_openapi_schema=parameter_schema(patching).model_dump(),
        )
        run = client.create_flow_run(patching, parameters={"study": "studies/demo.yaml"})
        artifact = client.create_artifact(
            ArtifactCreate(key="looked-at", type="markdown", data=f"Seen ![]({ELSEWHERE})")
        )
    pages = {
        "": "Dashboard",
        "runs": run.name,
        f"runs/flow-run/{run.id}": run.name,
        "deployments": "looked-at",
        f"deployments/deployment/{deployment}": "looked-at",
        f"deployments/deployment/{deployment}/run": "With which share of the units",
        "work-pools": "One run at a time on GPU 0.",
        "work-pools/work-pool/gpu-0": "gpu-0",
        "artifacts": "looked-at",
        f"artifacts/artifact/{artifact.id}": "Seen",
        "automations": "pause a pool",
        "blocks": "Blocks",
        "blocks/catalog": "AWS Credentials",
        "events": "Event Feed",
        "settings": "Settings",
    }
    page = browser.new_page(viewport={"width": 1500, "height": 1000})
    heard = Heard(page)
    for path, text in pages.items():
        page.goto(f"{address}/{path}")
        page.get_by_text(text).first.wait_for()
        page.wait_for_load_state("networkidle")
        shown = page.locator("body").inner_text()
        assert not [offer for offer in OFFERS if offer in shown], path
    page.close()
    assert heard.hosts == {"127.0.0.1"}
    assert ELSEWHERE in heard.stopped
    assert heard.broken == []
