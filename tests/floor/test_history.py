"""A tenant's worst recent behaviour counts, and the history survives crashes and stays bounded."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pitboss.errors import BadInput
from pitboss.floor.memory import history
from pitboss.floor.memory.gpus import Gpu, Survey, Tenant
from pitboss.floor.memory.history import growth, growths, recall, remember

GB = 1_000_000_000
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def at(hours_ago: float, *tenants: Tenant, hidden: int = 0) -> Survey:
    used = sum(tenant.memory or 0 for tenant in tenants) + hidden
    gpu = Gpu(3, "GPU-3", "A100", 81 * GB, used, None, None, tenants)
    taken = (NOW - timedelta(hours=hours_ago)).isoformat(timespec="seconds")
    return Survey("host", taken, "nvml", (gpu,))


def server(size: int, pid: int = 1, *, ours: bool = False, command: str = "vllm") -> Tenant:
    return Tenant(pid, "them", command, size * GB, ours)


def found(path: Path, *surveys: Survey) -> int:
    for survey in surveys:
        remember(survey, path)
    return growths(surveys[-1], path)[3] // GB


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.jsonl"


def test_without_a_history_nothing_is_assumed(path: Path) -> None:
    assert found(path, at(0, server(20))) == 0


def test_who_grew_may_grow_as_much_again(path: Path) -> None:
    assert found(path, at(3, server(20)), at(2, server(26)), at(0, server(26))) == 6


def test_who_shrank_may_return_to_its_peak(path: Path) -> None:
    assert found(path, at(3, server(30)), at(0, server(20))) == 10


def test_who_left_may_come_back_even_under_another_number(path: Path) -> None:
    assert found(path, at(3, server(40, pid=1)), at(0)) == 40
    assert found(path, at(0, server(40, pid=2))) == 0


def test_a_newcomer_and_a_restart_are_no_growth(path: Path) -> None:
    assert found(path, at(3), at(2, server(40)), at(1), at(0, server(40))) == 0


def test_each_tenant_counts_and_ours_do_not(path: Path) -> None:
    first = at(2, server(10, 1), server(5, 2, command="qwen"), server(10, 3, ours=True))
    last = at(0, server(12, 1), server(9, 2, command="qwen"), server(40, 3, ours=True))
    assert found(path, first, last) == 6


def test_memory_that_no_process_accounts_for_is_somebodys(path: Path) -> None:
    assert found(path, at(2, hidden=10 * GB), at(0, hidden=13 * GB)) == 3


def test_what_lies_before_the_window_is_over(path: Path) -> None:
    assert found(path, at(30, server(60)), at(20, server(20)), at(0, server(20))) == 0


def test_a_torn_line_costs_only_itself(path: Path) -> None:
    remember(at(3, server(20)), path)
    with path.open("a") as file:
        file.write('{"taken": "2026-01-02T1')
    assert found(path, at(1, server(26)), at(0, server(26))) == 6
    assert len(recall(path)) == 3


def test_a_long_history_forgets_what_is_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_LONGEST", 10_000)
    for n in range(400):
        remember(at(400 - n, server(20)), path)
    assert path.stat().st_size < 10_000 * 4
    oldest = recall(path)[0].taken
    assert NOW - timedelta(days=12) < oldest
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_survey_without_a_time_is_refused(path: Path) -> None:
    with pytest.raises(BadInput, match="no time"):
        growths(replace(at(0), taken="unknown"), path)


def test_growth_of_another_gpu_is_not_counted(path: Path) -> None:
    remember(at(3, server(20)), path)
    other = replace(at(0, server(25)).gpus[0], index=4)
    assert growth(other, recall(path), NOW) == 0
