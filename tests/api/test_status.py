"""Where a study stands, told from its folder alone."""

from pathlib import Path

import pytest

from pitboss.api.status import status_of
from pitboss.errors import Incomplete
from pitboss.experiments.games import experiment as games
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.summary import write
from pitboss.floor.locks.claims import claim_path
from pitboss.floor.locks.kernel_lock import KernelLock
from pitboss.store import Store, table_of
from tests.api.made import _games, study_of

LANES = ("gpu-0", "gpu-1")


def half_played(root: Path) -> tuple[Store, int]:
    """A study of which one batch of games is played, in 10 s, by the lane gpu-0."""
    study = study_of("half")
    store = open_store(study, root)
    first, *rest = games.units(study, "llama")
    assert len(rest) == 1 and first.rows == 48
    rows = [dict(_games()[0], key=f"game/{n}", repetition=n) for n in range(48)]
    facts = {"experiment": "games", "lane": "gpu-0", "seconds": 10.0}
    facts |= {"started": 5000.0, "finished": 5010.0}
    for kind, table in (("games", rows), ("decisions", [])):
        store.commit(kind, first.key, table_of(kind, table), identity=first.identity, facts=facts)
    return store, rest[0].rows or 0


def test_rate_and_time_left_come_from_the_finished_parts(tmp_path: Path) -> None:
    store, rest = half_played(tmp_path)
    status = status_of(store, now=5020.0)
    step = status.steps[0]
    assert (step.experiment, step.table, step.parts, step.parts_expected) == (
        "games llama", "games", 1, 2,
    )  # fmt: skip
    assert (step.rows, step.rows_expected, step.rate) == (48, 48 + rest, 4.8)
    assert step.left == pytest.approx(rest / 4.8)
    assert status.state == "working" and status.quiet == 10.0
    (lane,) = status.lanes
    assert (lane.lane, lane.experiment, lane.rate) == ("gpu-0", "games", 4.8)
    assert status_of(store, now=9000.0).state == "stopped"
    assert 0 < status.share < 0.2
    later = {step.experiment: step.note for step in status.steps if step.note}
    assert {"patching", "words"} <= set(later)  # which features is not decided yet
    assert "gpu-0" in repr(status) and "48" in repr(status)


def test_a_claim_of_a_living_process_is_work_and_a_dead_ones_is_not(tmp_path: Path) -> None:
    store, _ = half_played(tmp_path)
    lock = KernelLock(claim_path(store, "llama/L01-0000"))
    lock.acquire("run")
    status = status_of(store, now=9000.0)
    assert (status.state, status.working_on) == ("working", ("llama/L01-0000",))
    lock.release()
    assert lock.path.exists()
    assert status_of(store, now=9000.0).working_on == ()


def test_an_empty_study_has_everything_to_do(tmp_path: Path) -> None:
    store = open_store(study_of("empty"), tmp_path)
    status = status_of(store)
    assert (status.state, status.share, status.left, status.quiet) == ("empty", 0.0, None, None)


def test_settings_of_another_version_leave_what_is_done(tmp_path: Path) -> None:
    store, _ = half_played(tmp_path)
    odd = Store(store.path, {**store.manifest, "colour": "red"})
    odd._manifest_digest = store._manifest_digest
    status = status_of(odd, now=5020.0)
    assert [(step.table, step.rows) for step in status.steps] == [("decisions", 0), ("games", 48)]
    assert "colour" in status.problems[0]


def test_all_parts_with_too_few_rows_are_a_problem_and_not_complete(tmp_path: Path) -> None:
    study = study_of("short")
    store = open_store(study, tmp_path)
    for unit in games.units(study, "llama"):
        rows = [dict(_games()[0], key=f"{unit.slug}/{n}", repetition=n) for n in range(10)]
        for kind, table in (("games", rows), ("decisions", [])):
            store.commit(kind, unit.key, table_of(kind, table), identity=unit.identity)
    status = status_of(store)
    assert status.steps[0].parts == status.steps[0].parts_expected == 2
    assert not status.steps[0].complete
    assert status.problems == ("games llama/games: 20 rows, expected 68.",)


def test_a_finished_studys_summary_is_believed_only_while_its_parts_are_there(
    tmp_path: Path,
) -> None:
    store, _ = half_played(tmp_path)
    step = {"parts": {"expected": 1, "actual": 1}, "rows": {"expected": 48, "actual": 48}}
    steps = {"games": step | {"rows_per_second": 4.8}}
    store.write_json(
        "summary.json", {"complete": True, "experiments": {"games llama": {"steps": steps}}}
    )
    assert status_of(store).state == "complete"
    (store.path / store.refs("games")[0].path).unlink()
    assert status_of(store).state != "complete"
    with pytest.raises(Incomplete):
        write(study_of("half"), store)
