"""A study's progress on its campaign's page, told from the store."""

from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.expected import staged
from pitboss.experiments.runtime.study import open_store
from pitboss.store import table_of
from tasks import artifacts
from tasks.progress import EVERY_SECONDS, StudyProgress
from tests.api.made import _games, study_of


def stored(key: str) -> list[Any]:
    with get_client(sync_client=True) as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        return client.read_artifacts(artifact_filter=wanted)


def test_one_artifact_follows_the_store(
    prefect_api: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_quiet_until", 0.0)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path))
    study, now = study_of("seen"), [0.0]
    plan = plan_of(study, open_store(study, tmp_path))
    first = next(staged(plan, plan["games"], "llama"))[0]

    @flow
    def conduct() -> list[Any]:
        progress = StudyProgress(study, clock=lambda: now[0])
        progress.tell()
        seen = stored("seen-study-progress")
        rows = [dict(_games()[0], key=f"game/{n}", repetition=n) for n in range(48)]
        facts = {"experiment": "games", "worker": "gpu-0", "started": 0.0, "finished": 10.0}
        for kind, table in (("games", rows), ("decisions", [])):
            plan.store.commit(
                kind, first.key, table_of(kind, table), identity=first.identity, facts=facts
            )
        progress.tell()  # too early
        seen += stored("seen-study-progress")
        now[0] += EVERY_SECONDS + 1
        progress.tell()
        return seen + stored("seen-study-progress")

    empty, early, after = conduct()
    assert early.description == empty.description and float(empty.data) == 0
    assert "Study seen: empty, 0%." in empty.description
    assert after.id == empty.id and float(after.data) > 0
    assert "| games | games | 1/2 | 48 | 68 | 4.8 | 4 s |" in after.description
    assert "| gpu-0 | games | 1 | 48 | 4.8 |" in after.description
