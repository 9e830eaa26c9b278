"""Artifacts: what they show, that they stay small, and that they never kill the work."""

import json
import logging
import math
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks import artifacts


@pytest.fixture(autouse=True)
def nothing_failed_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "_quiet_until", 0.0)


def stored(key: str) -> list[Any]:
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return client.read_artifacts(artifact_filter=wanted)


def test_keys_have_only_allowed_characters() -> None:
    assert artifacts.artifact_key("Demo, layer 02: features_0-99!") == "demo-layer-02-features-0-99"


def test_a_large_table_is_cut_and_says_so(prefect_api: Any) -> None:
    rows = [{"n": n, "d": math.nan, "text": "x" * 90} for n in range(1, 2001)]

    @flow
    def show() -> None:
        artifacts.show_table("Big Table", rows, "Effects.")

    show()
    (table,) = stored("big-table")
    assert len(table.data) < artifacts.MAX_BYTES
    first, *_, last = json.loads(table.data)
    assert first["n"] == "1"
    assert "of 2,000 rows are left out" in last["n"]


def test_progress_is_throttled_and_ends_at_100(
    prefect_api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    send = artifacts.Progress._send

    def counted(self: artifacts.Progress, note: str) -> None:
        sent.append(note)
        send(self, note)

    monkeypatch.setattr(artifacts.Progress, "_send", counted)

    @flow
    def count() -> None:
        bar = artifacts.Progress("a-bar", "Chunks", 500)
        for step in range(500):
            bar.advance(note=f"chunk {step}")

    count()
    (bar,) = stored("a-bar")
    assert float(bar.data) == 100.0
    assert bar.description == "Chunks: 500 of 500. chunk 499"
    assert len(sent) == 2


def test_the_rate_is_of_steps_that_were_worked_on_and_gives_the_time_left(prefect_api: Any) -> None:
    now = [0.0]

    @flow
    def count() -> None:
        bar = artifacts.Progress("timed", "Chunks", 40, clock=lambda: now[0])
        assert bar.speed == ""
        for _ in range(10):  # finished before
            now[0] += 0.1
            bar.advance()
        assert bar.speed == ""
        for _ in range(5):
            now[0] += 120
            bar.advance()
        assert bar.speed == "30 an hour, about 50 min left"
        now[0] += 60
        bar.reach(18)  # another worker made three of them
        assert bar.speed == "44 an hour, about 30 min left"

    count()
    (bar,) = stored("timed")
    assert float(bar.data) == 45.0
    assert bar.description == "Chunks: 18 of 40. 44 an hour, about 30 min left"


def test_a_picture_is_shown_or_named(prefect_api: Any) -> None:
    @flow
    def show() -> None:
        artifacts.show_picture("small", b"\x89PNG" * 10, "A figure.", "figures/small.png")
        artifacts.show_picture("large", b"\x89PNG" * 50_000, "A figure.", "figures/large.png")

    show()
    assert "data:image/png;base64," in stored("small")[0].data
    assert "figures/large.png" in stored("large")[0].data
    assert len(stored("large")[0].data) < 1000


def test_a_server_that_is_away_kills_nothing(caplog: pytest.LogCaptureFixture) -> None:
    nobody = "http://127.0.0.1:9/api"
    with (
        temporary_settings(updates={PREFECT_API_URL: nobody}),
        caplog.at_level(logging.WARNING, "tasks.artifacts"),
    ):
        bar = artifacts.Progress("away", "Chunks", 10)
        for _ in range(10):
            bar.advance()
        artifacts.show_table("away", [{"n": 1}], "Effects.")
    said = [record.getMessage() for record in caplog.records if record.name == "tasks.artifacts"]
    assert len(said) == 1  # after the first failure the server is left alone
    assert "the work goes on" in said[0]


def test_data_that_cannot_be_sent_kills_nothing(prefect_api: Any) -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("no text")

    @flow
    def work() -> str:
        artifacts.show_table("broken", [{"n": Broken()}], "Effects.")
        return "done"

    assert work() == "done"
