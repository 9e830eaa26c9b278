"""What a browser gets from the server, without a browser: one UI, which may ask no other host."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from deployments.settings import HOST


@pytest.fixture
def browser_that_used_the_second_ui(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=f"http://{HOST}:{server.state.port}",
        headers={"Accept": "text/html", "Sec-Fetch-Mode": "navigate"},
        cookies={"prefect_ui_version": "v2"},
        trust_env=False,
    ) as client:
        yield client


def test_there_is_one_ui_and_old_addresses_lead_to_it(
    browser_that_used_the_second_ui: httpx.Client,
) -> None:
    told = browser_that_used_the_second_ui.get("/ui-settings").json()
    assert told["available_uis"] == ["v1"] and told["default_ui"] == "v1"
    assert told["api_url"] == "/api"  # the host it came from, at the other end of a tunnel as well
    for path in ("/", "/runs/flow-run/some"):
        assert browser_that_used_the_second_ui.get(path).status_code == 200
    old = browser_that_used_the_second_ui.get("/v2/runs/flow-run/some")
    assert old.headers["Location"] == "/runs/flow-run/some"
    shown = browser_that_used_the_second_ui.get("/api/admin/settings").json()
    assert shown["server"]["ui"]["show_promotional_content"] is False


@pytest.mark.parametrize("path", ["/", "/runs/flow-run/some", "/docs", "/api/health", "/api/none"])
def test_every_answer_tells_the_browser_to_ask_no_other_host(
    browser_that_used_the_second_ui: httpx.Client, path: str
) -> None:
    answer = browser_that_used_the_second_ui.get(path)
    rules = dict(
        rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; ")
    )
    assert rules["default-src"] == "'self'"
    named = {source for sources in rules.values() for source in sources.split()}
    assert named <= {"'self'", "'none'", "'unsafe-eval'", "'unsafe-inline'", "data:", "blob:"}
