"""A campaign's order: what waits for what, and what a failure stops."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging import disable_run_logger
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled, State

from flows.dag import MAX_RESTARTS, Failure, run_in_order
from flows.orchestrate import require_pools
from flows.parts import Part, parts_of
from pitboss.errors import BadInput
from pitboss.experiments.registry import load_study, parse_study
from pitboss.studies.model import Study
from tasks.study import ROOT
from tasks.worker import LEFT


class Floor:
    """Runs that end when looked at for the second time, in the state asked for.

    Attributes:
        pauses: Pools that are paused now.
    """

    def __init__(self, ends: Callable[[Part], State]) -> None:
        self._ends = ends
        self._runs: dict[UUID, tuple[Part, int]] = {}
        self._withdrawn: set[UUID] = set()
        self.log: list[str] = []
        self.pauses: set[str] = set()

    def start(self, part: Part, number: int) -> FlowRun:
        run = FlowRun(id=uuid4(), flow_id=uuid4(), state=Running())
        self._runs[run.id] = (part, 0)
        self.log.append(f"start {part.name}" + (f" again {number}" if number > 1 else ""))
        return run

    def look(self, run_id: UUID) -> FlowRun:
        part, looks = self._runs[run_id]
        self._runs[run_id] = (part, looks + 1)
        state = self._ends(part) if looks else Running()
        state = Cancelled() if run_id in self._withdrawn else state
        if state.is_final():
            self.log.append(f"end {part.name}")
        return FlowRun(id=run_id, flow_id=uuid4(), state=state)

    def paused(self, pool: str) -> bool:
        return pool in self.pauses

    def withdraw(self, run_id: UUID) -> None:
        self.log.append(f"withdraw {self._runs[run_id][0].name}")
        self._withdrawn.add(run_id)


def conduct(parts: list[Part], floor: Floor) -> list[Failure]:
    with disable_run_logger():
        return run_in_order(parts, floor, every=0)


POOLS = ["gpu-0", "gpu-1"]
AFTER = ("confirmation", "words", "clamped")


def demo(**changes: Any) -> Study:
    """The demo study with some experiments changed, or left out where they are None."""
    made = yaml.safe_load((ROOT / "studies" / "demo.yaml").read_text(encoding="utf-8"))
    for name, fields in changes.items():
        if fields is None:
            del made["experiments"][name]
        else:
            made["experiments"].setdefault(name, {}).update(fields)
    return parse_study(made)


def until_patching() -> list[Part]:
    """The demo's parts without those that read the patching's effects."""
    return [part for part in parts_of(demo(screening=None), POOLS) if part.experiment not in AFTER]


def demo_parts() -> list[Part]:
    return until_patching()


def test_parts_run_at_once_unless_they_need_another() -> None:
    floor = Floor(lambda part: Completed())
    assert conduct(demo_parts(), floor) == []
    assert set(floor.log[:3]) == {"start games llama", "start games gemma", "start pathway"}
    for before, after in [
        ("end games llama", "start features"),
        ("end features", "start patching 1/2"),
        ("end features", "start patching 2/2"),
    ]:
        assert floor.log.index(before) < floor.log.index(after)
    assert floor.log.index("start patching 2/2") < floor.log.index("end patching 1/2")


def test_a_failure_stops_what_needs_it_and_nothing_else() -> None:
    def ends(part: Part) -> State:
        return Failed(message="BadInput: no") if part.name == "games llama" else Completed()

    floor = Floor(ends)
    failures = conduct(demo_parts(), floor)
    assert "games llama on gpu-0: Failed, BadInput: no" in map(str, failures)
    assert {failure.part.name for failure in failures} == {
        "games llama",
        "features",
        "patching 1/2",
        "patching 2/2",
    }
    assert {"end games gemma", "end pathway"} <= set(floor.log)
    assert "start features" not in floor.log


def test_patching_waits_for_its_pools_but_needs_only_its_features() -> None:
    def ends(part: Part) -> State:
        return Failed(message="no") if part.name == "games gemma" else Completed()

    floor, parts = Floor(ends), demo_parts()
    assert [failure.part.name for failure in conduct(parts, floor)] == ["games gemma"]
    for part in parts:
        if not part.elastic:
            shard = POOLS.index(part.pool) + 1
            start = floor.log.index(f"start patching {shard}/2")
            assert floor.log.index(f"end {part.name}") < start
    assert {"end patching 1/2", "end patching 2/2"} <= set(floor.log)


def test_a_worker_joins_patching_when_its_own_pool_has_nothing_else_left() -> None:
    states = iter([*[Running()] * 20, *[Completed()] * 20])

    def ends(part: Part) -> State:
        return next(states) if part.name == "games gemma" else Completed()

    floor = Floor(ends)
    assert conduct(demo_parts(), floor) == []
    assert floor.log.index("start patching 1/2") < floor.log.index("end games gemma")
    assert "start patching 2/2" not in floor.log  # its work was done before its pool was free


def test_a_screening_is_waited_for_only_where_patching_confirms_what_it_finds() -> None:
    beside = {part.name: part for part in parts_of(demo(), POOLS)}
    assert beside["screening"].needs == ("features",)
    assert "screening" not in beside["patching 1/2"].needs

    first = parts_of(demo(patching={"bank": "screening", "confirm": 20}), POOLS)
    first = [part for part in first if part.experiment not in AFTER]
    floor = Floor(lambda part: Completed())
    assert conduct(first, floor) == []
    for before, after in [
        ("end features", "start screening"),
        ("end screening", "start patching 1/2"),
        ("end screening", "start patching 2/2"),
    ]:
        assert floor.log.index(before) < floor.log.index(after)
    floor = Floor(lambda p: Failed(message="no") if p.name == "screening" else Completed())
    failed = {failure.part.name for failure in conduct(first, floor)}
    assert failed == {"screening", "patching 1/2", "patching 2/2"}


def test_what_reads_effects_waits_for_all_of_patching_and_is_shared_where_it_can_be() -> None:
    parts = parts_of(demo(), POOLS)
    patching = {part.name for part in parts if part.experiment == "patching"}
    for name, shared in (("confirmation", True), ("words", False), ("clamped", True)):
        mine = [part for part in parts if part.experiment == name]
        assert [part.elastic for part in mine] == [shared] * (2 if shared else 1)
        assert all(set(part.needs) == patching for part in mine)


def test_two_patched_models_are_two_experiments_that_wait_for_their_own_features() -> None:
    study = demo(
        **{
            "features-gemma": {"kind": "selection", "model": "gemma", "games": "games",
                               "layers": "0-2"},
            "patch-gemma": {"kind": "patching", "bank": "features-gemma"},
        }
    )  # fmt: skip
    parts = {part.name: part for part in parts_of(study, POOLS)}
    assert parts["features-gemma"].needs == ("games gemma",)
    assert parts["features"].needs == ("games llama",)
    assert parts["patch-gemma 1/2"].needs == ("features-gemma",)
    assert parts["patch-gemma 1/2"].flow == "patching"
    assert parts["patch-gemma 1/2"].parameters["experiment"] == "patch-gemma"


def test_a_part_that_can_never_start_holds_up_nobody() -> None:
    parts = [
        Part("broken", "broken", "games", "gpu-0"),
        Part("lost", "lost", "features", "gpu-0", needs=("broken",)),
        Part("fine", "fine", "games", "gpu-1"),
        Part("last", "last", "patching", "gpu-1", needs=("fine",), after=("lost",)),
    ]
    floor = Floor(lambda part: Failed(message="no") if part.name == "broken" else Completed())
    assert {failure.part.name for failure in conduct(parts, floor)} == {"broken", "lost"}
    assert "end last" in floor.log


def sharing(count: int) -> list[Part]:
    return [
        Part(f"patching {n + 1}", "patch", "patching", f"gpu-{n}", elastic=True)
        for n in range(count)
    ]


def left() -> State:
    return Cancelled(name=LEFT, message="paused")


@pytest.mark.parametrize("end", [Failed(message="no"), Cancelled(), left()])
def test_a_worker_that_fails_or_leaves_fails_nothing_while_another_finishes(end: State) -> None:
    floor = Floor(lambda part: Completed() if part.pool == "gpu-1" else end)
    floor.pauses = {"gpu-0"} if end.name == LEFT else set()
    assert conduct(sharing(2), floor) == []
    assert "end patching 2" in floor.log


def test_workers_that_all_end_badly_fail() -> None:
    floor = Floor(lambda part: Failed(message="no") if part.pool == "gpu-0" else Cancelled())
    assert {failure.part.name for failure in conduct(sharing(2), floor)} == {
        "patching 1",
        "patching 2",
    }


def test_a_paused_pool_gets_its_run_when_it_is_resumed_and_work_is_left() -> None:
    class Resumed(Floor):
        """Pool gpu-0 is paused, gpu-1 leaves as its pool is paused, then gpu-0 is resumed."""

        asked = 0

        def paused(self, pool: str) -> bool:
            self.asked += 1
            return pool == ("gpu-0" if self.asked < 5 else "gpu-1")

    floor = Resumed(lambda part: Completed() if part.pool == "gpu-0" else left())
    assert conduct(sharing(2), floor) == []
    assert floor.log == ["start patching 2", "end patching 2", "start patching 1", "end patching 1"]


def test_a_worker_that_left_joins_again_under_a_new_number() -> None:
    states = iter([left(), Completed()])
    floor = Floor(lambda part: next(states))
    assert conduct(sharing(1), floor) == []
    assert floor.log.count("start patching 1 again 2") == 1


def test_a_run_that_waits_for_a_worker_is_withdrawn_when_all_chunks_are_finished() -> None:
    floor = Floor(lambda part: Completed() if part.pool == "gpu-0" else Scheduled(name="Late"))
    assert conduct(sharing(2), floor) == []
    assert floor.log[-2:] == ["withdraw patching 2", "end patching 2"]


@pytest.mark.parametrize("part", [Part("games", "games", "games", "gpu-0"), sharing(1)[0]])
def test_a_part_whose_process_dies_is_started_again_but_not_for_ever(part: Part) -> None:
    floor = Floor(lambda part: Crashed(message="exit code -9"))
    [failure] = conduct([part], floor)
    assert failure.state == "Crashed"
    assert len([line for line in floor.log if line.startswith("start")]) == 1 + MAX_RESTARTS


def test_a_crash_that_is_resumed_at_once_is_none() -> None:
    """The reconciler sets a dead run to Crashed, then to AwaitingRetry."""
    states = iter([Crashed(), Scheduled(name="AwaitingRetry"), Crashed(), Running(), Completed()])
    floor = Floor(lambda part: next(states))
    assert conduct([Part("games", "games", "games", "gpu-0")], floor) == []
    assert len([line for line in floor.log if line.startswith("start")]) == 1


@pytest.mark.parametrize("pools", [["gpu-0"], POOLS, [f"gpu-{n}" for n in range(8)]])
@pytest.mark.parametrize("study", ["demo", "plan"])
def test_every_part_names_a_deployment_of_the_floor(study: str, pools: list[str]) -> None:
    settings = load_study(ROOT / "studies" / f"{study}.yaml")
    if study == "plan" and len(pools) < 8:
        with pytest.raises(BadInput, match="gpu-"):  # it names pools, which are not there
            parts_of(settings, pools)
        return
    parts = parts_of(settings, pools)
    assert len({part.name for part in parts}) == len(parts)
    assert {part.deployment.split("/")[1] for part in parts} <= set(pools)
    shards = [part.parameters for part in parts if part.experiment == "patching"]
    assert sorted(each["shard"] for each in shards) == list(range(len(shards)))
    assert {each["shards"] for each in shards} == {len(shards)}


def test_a_pool_that_is_not_there_is_refused_by_name(prefect_api: object) -> None:
    parts = [
        Part("games x", "games", "games", "gpu-77"),
        Part("words", "words", "words", "gpu-77"),
    ]
    with get_client(sync_client=True) as client, pytest.raises(BadInput) as refused:
        require_pools(client, parts)
    message = str(refused.value)
    assert message.count("there is no work pool 'gpu-77'") == 1
    assert "there is no deployment 'words/gpu-77'" in message
    assert "floor section" in message
