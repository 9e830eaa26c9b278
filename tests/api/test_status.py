"""Where a study stands, told from its folder alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pitboss.api.status import status_of
from pitboss.errors import Incomplete
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.expected import staged
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.runtime.unit import Outcome, Unit
from pitboss.experiments.summary import write
from pitboss.floor.locks.claims import claim_path
from pitboss.floor.locks.kernel_lock import KernelLock
from pitboss.store import table_of
from tests.api.made import _games, make, study_of


def begun(root: Path, name: str) -> tuple[Plan, list[Unit]]:
    """A study whose games are begun: the plan and the batches."""
    study = study_of(name)
    plan = plan_of(study, open_store(study, root))
    return plan, list(next(iter(staged(plan, plan["games"], "llama"))))


def play(plan: Plan, unit: Unit, games: int) -> None:
    """A batch of games, in 10 s, on the worker gpu-0."""
    rows = [dict(_games()[0], key=f"{unit.slug}/{n}", repetition=n) for n in range(games)]
    facts = {"worker": "gpu-0", "seconds": 10.0, "started": 5000.0, "finished": 5010.0}
    unit.complete(plan.store, Outcome({"games": rows, "decisions": []}, facts), began=0.0)


def half_played(root: Path) -> tuple[Plan, int]:
    """A study of which one batch of games is played."""
    plan, (first, *rest) = begun(root, "half")
    assert len(rest) == 1 and first.rows == 48
    play(plan, first, 48)
    return plan, rest[0].rows or 0


def test_rate_and_time_left_come_from_the_finished_parts(tmp_path: Path) -> None:
    plan, rest = half_played(tmp_path)
    status = status_of(plan.store, now=5020.0)
    step = next(step for step in status.steps if step.table == "games")
    assert (step.experiment, step.parts, step.parts_expected) == ("games", 1, 2)
    assert (step.rows, step.rows_expected, step.rate) == (48, 48 + rest, 4.8)
    assert step.left == pytest.approx(rest / 4.8)
    assert status.state == "working" and status.quiet == 10.0
    (worker,) = status.workers
    assert (worker.worker, worker.experiment, worker.rate) == ("gpu-0", "games", 4.8)
    assert status_of(plan.store, now=9000.0).state == "stopped"
    assert 0 < status.share < 0.2
    later = {step.experiment: step.note for step in status.steps if step.note}
    assert {"patching", "words"} <= set(later)
    assert "gpu-0" in repr(status) and "gpu-0" in status._repr_html_()


def test_a_claim_of_a_living_process_is_work_and_a_dead_ones_is_not(tmp_path: Path) -> None:
    plan, _ = half_played(tmp_path)
    lock = KernelLock(claim_path(plan.store, "llama/L01-0000"))
    lock.acquire("run")
    status = status_of(plan.store, now=9000.0)
    assert (status.state, status.working_on) == ("working", ("llama/L01-0000",))
    lock.release()
    assert lock.path.exists()
    assert status_of(plan.store, now=9000.0).working_on == ()


def test_an_empty_study_has_everything_to_do(tmp_path: Path) -> None:
    store = open_store(study_of("empty"), tmp_path)
    status = status_of(store)
    assert (status.state, status.share, status.left, status.quiet) == ("empty", 0.0, None, None)


def test_all_parts_with_too_few_rows_are_a_problem_and_not_complete(tmp_path: Path) -> None:
    plan, units = begun(tmp_path, "short")
    for unit in units:
        rows = [dict(_games()[0], key=f"{unit.slug}/{n}", repetition=n) for n in range(10)]
        for kind, table in (("games", rows), ("decisions", [])):
            plan.store.commit(kind, unit.key, table_of(kind, table), identity=unit.identity)
    status = status_of(plan.store)
    step = next(step for step in status.steps if step.table == "games")
    assert step.parts == step.parts_expected == 2 and not step.complete
    assert status.problems == ("games/games: 20 rows, expected 68.",)


def test_a_finished_studys_summary_is_believed_only_while_its_parts_are_there(
    tmp_path: Path,
) -> None:
    plan, _ = half_played(tmp_path)
    store = plan.store
    step = {"parts": {"expected": 1, "actual": 1}, "rows": {"expected": 48, "actual": 48}}
    steps = {"games": step | {"rows_per_second": 4.8}}
    store.write_json("summary.json", {"complete": True, "experiments": {"games": {"steps": steps}}})
    assert status_of(store).state == "complete"
    (store.path / store.refs("games")[0].path).unlink()
    assert status_of(store).state != "complete"
    with pytest.raises(Incomplete):
        write(plan_of(plan.study, store))


READING = """
import sys
from pitboss.cli import main
for words in (["status", "half"], ["status"], ["games", "half"], ["effects", "small"],
              ["show", "small", "L1/F7"], ["export", "small", "trials", "--out", "-"]):
    assert main([*words, "--results", sys.argv[1]]) in (0, 3), words
heavy = {"torch", "transformers", "sae_lens", "prefect", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""


def test_looking_loads_no_model_library_and_writes_nothing(tmp_path: Path) -> None:
    """Of a running study and of one that is left; the folder may be read-only."""
    half_played(tmp_path)
    make(tmp_path)
    with KernelLock(claim_path(open_store(study_of("half"), tmp_path), "llama/L01-0000")):

        def listing() -> dict[str, tuple[int, int]]:
            paths = [tmp_path, *tmp_path.rglob("*")]
            return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in paths}

        subprocess.run(["chmod", "-R", "a-w", str(tmp_path)], check=True)
        before = listing()
        command = [sys.executable, "-c", READING, str(tmp_path)]
        if os.geteuid() == 0:  # root may write everywhere, so look as somebody who may not
            command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
        found = subprocess.run(command, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        assert listing() == before
        subprocess.run(["chmod", "-R", "u+w", str(tmp_path)], check=True)
