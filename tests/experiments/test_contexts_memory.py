"""Contexts where memory is short: fewer layers at once, or none for a while; the same bytes."""

import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
import torch

from pitboss.engine.memory import CONTEXT
from pitboss.errors import BadInput, OutOfMemory
from pitboss.experiments.runtime import residuals as passes
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.words import contexts
from pitboss.floor.memory.guard import Thresholds
from pitboss.floor.memory.watcher import Watcher
from pitboss.models.loading import LoadedModel
from pitboss.store import Store
from tasks import model
from tests.experiments.small import LAYERS, Whole

PARTS = "parts/contexts"


@pytest.fixture
def again(whole: Whole, tmp_path: Path) -> tuple[Store, Unit]:
    """A copy of the study from which the contexts are missing."""
    shutil.copytree(whole.store.path, tmp_path / "small")
    for kind in ("parts", "records"):
        shutil.rmtree(tmp_path / "small" / kind / "contexts")
    store = Store.open(tmp_path / "small")
    unit = contexts.unit(whole.study, store)
    assert unit.ref(store) is None
    return store, unit


def files(store: Store) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (store.path / PARTS).rglob("*.parquet")}


class Passed:
    """The model's passes: those of many layers find no memory. Remembers how many each had.

    Args:
        room: Layers that fit.
        pause_s: How long a pass takes longer, so that somebody can watch.
    """

    def __init__(self, room: int, pause_s: float = 0.0) -> None:
        self.room, self.pause_s, self.seen = room, pause_s, list[int]()
        self._residuals = passes.residuals

    def __call__(
        self, loaded: LoadedModel, tokens: Sequence[int], layers: Collection[int]
    ) -> dict[int, torch.Tensor]:
        self.seen.append(len(layers))
        time.sleep(self.pause_s)
        if len(layers) > self.room:
            raise torch.OutOfMemoryError("no room")
        return self._residuals(loaded, tokens, layers)


@pytest.fixture
def held(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> model.Held:
    made = model.Held(whole.lane)
    monkeypatch.setattr(model, "hold", lambda study, alias: made)
    return made


def test_half_the_layers_give_the_same_bytes(
    whole: Whole, again: tuple[Store, Unit], held: model.Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unit = again
    assert held.slots_for(unit) == len(LAYERS) == 2
    passed = Passed(room=1)
    monkeypatch.setattr(passes, "residuals", passed)
    with pytest.raises(OutOfMemory, match="ran out of memory with 2 layers at once"):
        model.carry_out(contexts.run, whole.study, "llama", unit, store)
    assert not files(store)
    model.carry_out(contexts.run, whole.study, "llama", unit, store)  # the task's retry
    assert held.slots_for(unit) == 1 and set(passed.seen[1:]) == {1}
    assert files(store) == files(whole.store)


def test_a_text_that_does_not_fit_with_one_layer_is_an_error_of_its_own(
    whole: Whole, again: tuple[Store, Unit], held: model.Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unit = again
    monkeypatch.setattr(passes, "residuals", Passed(room=0))
    with pytest.raises(OutOfMemory):
        model.carry_out(contexts.run, whole.study, "llama", unit, store)
    with pytest.raises(model.DoesNotFit):
        model.carry_out(contexts.run, whole.study, "llama", unit, store)
    assert not files(store)


class Tenant:
    """Free bytes beside somebody who takes so much that one layer stays, then everything until
    the lane has parked, and leaves.

    Args:
        said: What the watcher has said so far.
    """

    def __init__(self, said: list[str]) -> None:
        self.said, self.short = said, 0

    def __call__(self) -> int:
        words = [sentence.split()[2] for sentence in self.said]
        if "park" in words:
            return 10**12
        return 0 if "shrink" in words else self.short


def test_others_take_the_memory_and_give_it_back_and_no_byte_changes(
    whole: Whole, again: tuple[Store, Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unit = again
    passed = Passed(room=2, pause_s=0.01)
    monkeypatch.setattr(passes, "residuals", passed)
    said: list[str] = []
    tenant = Tenant(said)
    reserve = 10**9
    thresholds = Thresholds(reserve, margin=0, patience_s=0, hold_s=0.05, longest_hold_s=0.05)
    watcher = Watcher(tenant, thresholds, every_s=0.005, say=said.append)
    lane = Lane(whole.study, "llama", whole.lane.loaded, [], watcher)
    tenant.short = reserve - 1  # one layer of two gives that back
    watcher.start()
    contexts.run(lane, store, unit)
    watcher.stop()
    words = [sentence.split()[2] for sentence in said]
    assert words[:2] == ["shrink", "park"] and "return" in words
    assert {1, 2} <= set(passed.seen)
    assert files(store) == files(whole.store)


def test_the_job_is_watched_with_its_own_footprint(whole: Whole, again: tuple[Store, Unit]) -> None:
    store, unit = again
    watcher = Watcher(lambda: 10**12, Thresholds(reserve=0, margin=0))
    lane = Lane(whole.study, "llama", whole.lane.loaded, [], watcher)
    contexts.run(lane, store, unit)
    assert watcher.guard is not None and watcher.guard.cap == len(LAYERS)
    spec, guarded = whole.lane.loaded.spec, watcher.guard.footprint
    longest, rest = divmod(guarded.slot, spec.d_model * (4 + 4))
    assert rest == 0 and 100 < longest < spec.max_positions
    assert guarded.base > spec.n_params * 4


def test_as_many_layers_as_fit_are_read_at_once_and_with_no_room_nothing_is(
    whole: Whole, again: tuple[Store, Unit], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, unit = again
    bank = contexts.chosen_bank(whole.study, store, unit.payload.causal)
    needs = passes.footprint(whole.lane.loaded, bank, longest=1000)
    for room, fitting in ((needs.bytes(2), 2), (needs.bytes(2) - 1, 1), (needs.bytes(1), 1)):
        monkeypatch.setattr(Lane, "_usable", lambda lane, room=room: room + CONTEXT)
        assert whole.lane.guarded(2, needs)[0] == fitting
    monkeypatch.setattr(Lane, "_usable", lambda lane: 1_000_000)
    with pytest.raises(BadInput, match="the job needs at least"):
        contexts.run(whole.lane, store, unit)
    assert not files(store)
