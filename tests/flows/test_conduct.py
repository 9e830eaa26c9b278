"""A campaign's order: what waits for what, and what a failure stops."""

from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.logging import disable_run_logger
from prefect.states import Cancelled, Completed, Crashed, Failed, Running, Scheduled, State

from flows.orchestrate import require_pools
from flows.dag import MAX_RESTARTS, Failure, run_in_order
from flows.parts import Part, after_effects, until_patching
from pitboss.errors import BadInput
from pitboss.studies.loading import load_study
from pitboss.studies.model import Study
from tasks.lane import LEFT
from tasks.study import ROOT


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


def demo_parts() -> list[Part]:
    return until_patching(load_study(ROOT / "studies" / "demo.yaml"))


def test_parts_run_at_once_unless_they_need_another() -> None:
    floor = Floor(lambda part: Completed())
    assert conduct(demo_parts(), floor) == []
    assert floor.log[:3] == ["start games llama", "start games gemma", "start pathway"]
    for before, after in [
        ("end games llama", "start features llama"),
        ("end features llama", "start patching 1/2"),
        ("end features llama", "start patching 2/2"),
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
        "features llama",
        "patching 1/2",
        "patching 2/2",
    }
    assert {"end games gemma", "end pathway"} <= set(floor.log)
    assert "start features llama" not in floor.log


def test_patching_waits_for_its_lanes_but_needs_only_its_features() -> None:
    def ends(part: Part) -> State:
        return Failed(message="no") if part.name == "games gemma" else Completed()

    floor = Floor(ends)
    assert [failure.part.name for failure in conduct(demo_parts(), floor)] == ["games gemma"]
    for before in ("end pathway", "end features llama"):
        assert floor.log.index(before) < floor.log.index("start patching 1/2")
    assert floor.log.index("end games gemma") < floor.log.index("start patching 2/2")
    assert {"end patching 1/2", "end patching 2/2"} <= set(floor.log)


def test_a_lane_of_patching_joins_when_its_own_pool_has_nothing_else_left() -> None:
    states = iter([*[Running()] * 20, *[Completed()] * 20])

    def ends(part: Part) -> State:
        return next(states) if part.name == "games gemma" else Completed()

    floor = Floor(ends)
    assert conduct(demo_parts(), floor) == []
    assert floor.log.index("start patching 1/2") < floor.log.index("end games gemma")
    assert "start patching 2/2" not in floor.log  # its work was done before its pool was free


def plain() -> Study:
    """The demo without what is asked after its effects, words and screening excepted."""
    study = load_study(ROOT / "studies" / "demo.yaml")
    patching = study.patching.model_copy(update={"confirmation": None})
    return study.model_copy(update={"patching": patching, "persistent": None})


def screening_first() -> Study:
    study = plain()
    patching = study.patching.model_copy(update={"screen": True, "confirm": 20})
    return study.model_copy(update={"patching": patching})


def test_a_screening_comes_beside_the_words_unless_patching_confirms_what_it_finds() -> None:
    study = plain()
    assert "screening" not in {part.name for part in until_patching(study)}
    last = after_effects(study)
    assert [(part.name, part.pool) for part in last] == [("words", "gpu-0"), ("screening", "gpu-1")]
    floor = Floor(lambda part: Completed())
    assert conduct(last, floor) == []
    assert floor.log[:2] == ["start words", "start screening"]

    first = until_patching(screening_first())
    assert [part.name for part in after_effects(screening_first())] == ["words"]
    floor = Floor(lambda part: Completed())
    assert conduct(first, floor) == []
    for before, after in [
        ("end features llama", "start screening"),
        ("end screening", "start patching 1/2"),
        ("end screening", "start patching 2/2"),
    ]:
        assert floor.log.index(before) < floor.log.index(after)
    floor = Floor(lambda p: Failed(message="no") if p.name == "screening" else Completed())
    failed = {failure.part.name for failure in conduct(first, floor)}
    assert failed == {"screening", "patching 1/2", "patching 2/2"}


def test_a_screening_without_a_pool_of_its_own_takes_the_first_of_patching() -> None:
    study = plain()
    floor = study.floor.model_copy(update={"screening": None, "patching": ["gpu-7", "gpu-1"]})
    assert after_effects(study.model_copy(update={"floor": floor}))[-1].pool == "gpu-7"
    without = study.model_copy(update={"screening": None})
    assert [part.name for part in after_effects(without)] == ["words"]


def test_what_was_found_is_asked_again_by_all_lanes_of_patching() -> None:
    study = load_study(ROOT / "studies" / "demo.yaml")
    floor = study.floor.model_copy(update={"patching": ["gpu-2", "gpu-5"]})
    parts = after_effects(study.model_copy(update={"floor": floor}))
    asked = [(p.pool, p.elastic) for p in parts if p.flow == "confirmation"]
    assert asked == [("gpu-2", True), ("gpu-5", True)]


def test_games_under_patches_that_stay_share_the_patching_lanes_or_their_own() -> None:
    study = load_study(ROOT / "studies" / "demo.yaml")
    floor = study.floor.model_copy(update={"patching": ["gpu-7", "gpu-1"]})
    parts = after_effects(study.model_copy(update={"floor": floor}))
    held = [part for part in parts if part.flow == "persistent"]
    assert [(part.pool, part.parameters, part.elastic) for part in held] == [
        ("gpu-7", {"shard": 0, "shards": 2}, True),
        ("gpu-1", {"shard": 1, "shards": 2}, True),
    ]
    floor = floor.model_copy(update={"persistent": ["gpu-3"]})
    parts = after_effects(study.model_copy(update={"floor": floor}))
    assert [part.pool for part in parts if part.flow == "persistent"] == ["gpu-3"]


def test_a_part_that_can_never_start_holds_up_nobody() -> None:
    parts = [
        Part("broken", "games", "gpu-0"),
        Part("lost", "features", "gpu-0", needs=("broken",)),
        Part("fine", "games", "gpu-1"),
        Part("last", "patching", "gpu-1", needs=("fine",), after=("lost",)),
    ]
    floor = Floor(lambda part: Failed(message="no") if part.name == "broken" else Completed())
    assert {failure.part.name for failure in conduct(parts, floor)} == {"broken", "lost"}
    assert "end last" in floor.log


def lanes(count: int) -> list[Part]:
    return [Part(f"patching {n + 1}", "patching", f"gpu-{n}", elastic=True) for n in range(count)]


def left() -> State:
    return Cancelled(name=LEFT, message="paused")


@pytest.mark.parametrize("end", [Failed(message="no"), Cancelled(), left()])
def test_a_lane_that_fails_or_leaves_fails_nothing_while_another_finishes(end: State) -> None:
    floor = Floor(lambda part: Completed() if part.pool == "gpu-1" else end)
    floor.pauses = {"gpu-0"} if end.name == LEFT else set()
    assert conduct(lanes(2), floor) == []
    assert "end patching 2" in floor.log


def test_lanes_that_all_end_badly_fail() -> None:
    floor = Floor(lambda part: Failed(message="no") if part.pool == "gpu-0" else Cancelled())
    assert {failure.part.name for failure in conduct(lanes(2), floor)} == {
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
    assert conduct(lanes(2), floor) == []
    assert floor.log == ["start patching 2", "end patching 2", "start patching 1", "end patching 1"]


def test_a_lane_that_left_joins_again_under_a_new_number() -> None:
    states = iter([left(), Completed()])
    floor = Floor(lambda part: next(states))
    assert conduct(lanes(1), floor) == []
    assert floor.log.count("start patching 1 again 2") == 1


def test_a_run_that_waits_for_a_worker_is_withdrawn_when_all_chunks_are_finished() -> None:
    floor = Floor(lambda part: Completed() if part.pool == "gpu-0" else Scheduled(name="Late"))
    assert conduct(lanes(2), floor) == []
    assert floor.log[-2:] == ["withdraw patching 2", "end patching 2"]


@pytest.mark.parametrize("part", [Part("games", "games", "gpu-0"), lanes(1)[0]])
def test_a_part_whose_process_dies_is_started_again_but_not_for_ever(part: Part) -> None:
    floor = Floor(lambda part: Crashed(message="exit code -9"))
    [failure] = conduct([part], floor)
    assert failure.state == "Crashed"
    assert len([line for line in floor.log if line.startswith("start")]) == 1 + MAX_RESTARTS


def test_a_crash_that_is_resumed_at_once_is_none() -> None:
    """The reconciler sets a dead run to Crashed, then to AwaitingRetry."""
    states = iter([Crashed(), Scheduled(name="AwaitingRetry"), Crashed(), Running(), Completed()])
    floor = Floor(lambda part: next(states))
    assert conduct([Part("games", "games", "gpu-0")], floor) == []
    assert len([line for line in floor.log if line.startswith("start")]) == 1


@pytest.mark.parametrize("study", ["demo", "plan"])
def test_every_part_names_a_deployment_of_the_studys_floor(study: str) -> None:
    settings = load_study(ROOT / "studies" / f"{study}.yaml")
    parts = [*until_patching(settings), *after_effects(settings)]
    assert len({part.name for part in parts}) == len(parts)
    assert {part.deployment.split("/")[1] for part in parts} <= {f"gpu-{n}" for n in range(8)}
    shards = [part.parameters for part in parts if part.flow == "patching"]
    assert sorted(each["shard"] for each in shards) == list(range(len(shards)))
    assert {each["shards"] for each in shards} == {len(shards)}


def test_a_pool_that_is_not_there_is_refused_by_name(prefect_api: object) -> None:
    parts = [Part("games x", "games", "gpu-77"), Part("words", "words", "gpu-77")]
    with get_client(sync_client=True) as client, pytest.raises(BadInput) as refused:
        require_pools(client, parts)
    message = str(refused.value)
    assert message.count("there is no work pool 'gpu-77'") == 1
    assert "there is no deployment 'words/gpu-77'" in message
    assert "floor section" in message
