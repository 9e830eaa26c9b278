"""Contexts where memory is short: fewer layers at once, or none for a while; the same bytes."""

import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest
import torch

from pitboss.engine.memory import CONTEXT
from pitboss.errors import BadInput, OutOfMemory
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime import residuals as passes
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.words.experiment import Words
from pitboss.floor.memory.guard import Thresholds
from pitboss.floor.memory.watcher import Watcher
from pitboss.models.loading import LoadedModel
from pitboss.store import Store
from tests.experiments.small import LAYERS, Whole

PARTS = "parts/contexts"


@pytest.fixture
def words(whole: Whole, tmp_path: Path) -> Words:
    """The words of a copy of the study from which the contexts are missing."""
    shutil.copytree(whole.store.path, tmp_path / "small")
    for kind in ("parts", "records"):
        shutil.rmtree(tmp_path / "small" / kind / "contexts")
    found = plan_of(whole.study, Store.open(tmp_path / "small"))["words"]
    assert isinstance(found, Words) and found.contexts().ref(found.store) is None
    return found


def do(words: Words, context: ModelContext, slots: int | None = None) -> None:
    """Carry out the one unit of contexts."""
    carry_out(words.plan, words.contexts(), lambda alias: context, slots)


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


def test_half_the_layers_give_the_same_bytes(
    whole: Whole, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert words.contexts().at_once == len(LAYERS) == 2
    passed = Passed(room=1)
    monkeypatch.setattr(passes, "residuals", passed)
    with pytest.raises(OutOfMemory, match="ran out of memory with 2 layers at once"):
        do(words, whole.context, slots=2)
    assert not files(words.store)
    do(words, whole.context, slots=1)  # as the task's retry does
    assert set(passed.seen[1:]) == {1}
    assert files(words.store) == files(whole.store)


def test_a_text_that_does_not_fit_with_one_layer_leaves_nothing(
    whole: Whole, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "residuals", Passed(room=0))
    with pytest.raises(OutOfMemory, match="with 1 layers at once"):
        do(words, whole.context, slots=1)
    assert not files(words.store)


class Tenant:
    """Free bytes beside somebody who takes so much that one layer stays, then everything until
    the model was parked, and leaves.

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
    whole: Whole, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Passed(room=2, pause_s=0.01)
    monkeypatch.setattr(passes, "residuals", passed)
    said: list[str] = []
    tenant = Tenant(said)
    reserve = 10**9
    thresholds = Thresholds(reserve, margin=0, patience_s=0, hold_s=0.05, longest_hold_s=0.05)
    watcher = Watcher(tenant, thresholds, every_s=0.005, say=said.append)
    context = ModelContext(whole.study, "llama", whole.context.loaded, [], watcher)
    tenant.short = reserve - 1  # one layer of two gives that back
    watcher.start()
    do(words, context)
    watcher.stop()
    did = [sentence.split()[2] for sentence in said]
    assert did[:2] == ["shrink", "park"] and "return" in did
    assert {1, 2} <= set(passed.seen)
    assert files(words.store) == files(whole.store)


def test_the_job_is_watched_with_its_own_footprint(whole: Whole, words: Words) -> None:
    watcher = Watcher(lambda: 10**12, Thresholds(reserve=0, margin=0))
    do(words, ModelContext(whole.study, "llama", whole.context.loaded, [], watcher))
    assert watcher.guard is not None and watcher.guard.cap == len(LAYERS)
    spec, guarded = whole.context.loaded.spec, watcher.guard.footprint
    longest, rest = divmod(guarded.slot, spec.d_model * (4 + 4))
    assert rest == 0 and 100 < longest < spec.max_positions
    assert guarded.base > spec.n_params * 4


def test_as_many_layers_as_fit_are_read_at_once_and_with_no_room_nothing_is(
    whole: Whole, words: Words, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs = passes.footprint(whole.context.loaded, words.bank(), longest=1000)
    for room, fitting in ((needs.bytes(2), 2), (needs.bytes(2) - 1, 1), (needs.bytes(1), 1)):
        monkeypatch.setattr(ModelContext, "_usable", lambda context, room=room: room + CONTEXT)
        assert whole.context.guarded(2, needs)[0] == fitting
    monkeypatch.setattr(ModelContext, "_usable", lambda context: 1_000_000)
    with pytest.raises(BadInput, match="the job needs at least"):
        do(words, whole.context)
    assert not files(words.store)
