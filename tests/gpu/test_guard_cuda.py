"""The memory guard on a real GPU, against a process that takes memory in steps and gives it back.

The tenant is a process of its own. It must never meet an out-of-memory error; the guarded engine
must shrink, leave the GPU, and come back; and no bit of a request may change.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from bench.floor_tenant import STEP, Program
from bench.shapes import random_llama_8b
from pitboss.engine import Engine, EngineConfig, Generation, Sampling
from pitboss.engine.memory import CONTEXT, base_and_slot
from pitboss.engine.pressure import Pressure, release
from pitboss.floor.memory.guard import Footprint, Thresholds
from pitboss.floor.memory.watcher import Watcher
from pitboss.models.loading import LoadedModel
from tests.gpu.small import requests_of, small

RESERVE = 4 * 10**9
SAMPLED = Sampling(0.9, 50, 0.9, 20)
SLOTS = 256
CONFIG = EngineConfig(width=128, prompt_capacity=128, token_capacity=1024, prefixes=2, slots=SLOTS)


@pytest.fixture
def tenant() -> Iterator[Program]:
    made = Program()
    yield made
    made.leave()


def free() -> int:
    """NVML's answer where its Python is there, else CUDA's own, which is the same number."""
    try:
        from pitboss.floor.memory.watcher import nvml_headroom

        return nvml_headroom(str(torch.cuda.get_device_properties(0).uuid))()
    except ImportError:
        return int(torch.cuda.mem_get_info()[0])


def engine(loaded: LoadedModel, pressure: Pressure | None, logits: bool = False) -> Engine:
    return Engine(loaded, replace(CONFIG, keep_logits=logits), seed=1, pressure=pressure)


def assert_same(made: list[Generation], expected: list[Generation]) -> None:
    theirs = {g.key: g for g in expected}
    assert len(made) == len(theirs) == len({g.key for g in made})
    for g in made:
        assert g.tokens == theirs[g.key].tokens
        logits = theirs[g.key].logits
        assert (g.logits is None) == (logits is None)
        assert g.logits is None or logits is None or torch.equal(g.logits, logits)


class Answers:
    """Answers in turn, each after so many questions; then as many slots as there were.

    Args:
        meanwhile: Done once, at the first question of an engine that is away.
    """

    def __init__(
        self, *answers: int, every: int = 8, meanwhile: Callable[[], None] = lambda: None
    ) -> None:
        self.questions, self.answers, self.every = 0, answers, every
        self.away: list[int] = []
        self.meanwhile = meanwhile

    def __call__(self, slots: int) -> int:
        self.questions += 1
        if not slots:
            self.away.append(torch.cuda.memory_reserved())
            if len(self.away) == 1:
                self.meanwhile()
        turn = self.questions // self.every
        now = self.answers[turn] if turn < len(self.answers) else SLOTS
        return now


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gemma2"])
def test_shrinking_leaving_and_coming_back_change_no_bit(family: str, dtype: torch.dtype) -> None:
    """With CUDA graphs of every number of slots, and those of one micro-batch and of two."""
    loaded = small(family, dtype)
    requests = requests_of(loaded, 600, SAMPLED)
    expected = engine(loaded, None, logits=True).run(requests)
    answers = Answers(SLOTS, 130, 40, 0, 3, 256, 0, 200)
    assert_same(engine(loaded, answers, logits=True).run(requests), expected)
    assert answers.away


def test_an_engine_that_is_away_leaves_nothing_but_the_context(tenant: Program) -> None:
    """By PyTorch's count and by the driver's; and a tenant takes what it left."""
    loaded = random_llama_8b()
    weights = sum(p.nbytes for p in loaded.model.parameters())
    requests = requests_of(loaded, 300, SAMPLED)
    seen: dict[str, int] = {"with the model": free()}

    def tenants_hour() -> None:
        seen["parked"] = free()
        steps = seen["parked"] // STEP - 1
        assert steps * STEP > seen["running"]  # more than there was beside the running engine
        tenant.take(steps)
        seen["parked, a tenant there"] = free()
        tenant.take(-1)
        seen["parked, the tenant gone"] = free()

    answers = Answers(SLOTS, 0, SLOTS, every=10, meanwhile=tenants_hour)
    made = engine(loaded, answers)
    seen["running"], before = free(), torch.cuda.memory_reserved()
    made.run(requests)
    seen["running again"] = free()
    print(f"reserved: {before / 1e9:.2f} GB before, {max(answers.away) / 1e9:.3f} GB while away")
    print(*(f"free, {when}: {bytes / 1e9:.2f} GB" for when, bytes in seen.items()), sep="\n")
    assert before > weights and max(answers.away) < 0.02 * weights
    # What the driver counts has grown by kernels that were loaded since.
    assert seen["parked"] - seen["running"] > before - CONTEXT
    assert seen["parked, the tenant gone"] > 0.99 * seen["parked"]
    assert torch.cuda.memory_allocated() < 1.1 * before


def test_a_growing_tenant_makes_the_guard_shrink_park_and_return(tenant: Program) -> None:
    loaded = random_llama_8b()
    requests = requests_of(loaded, 400, SAMPLED)
    expected = engine(loaded, None).run(requests)
    release(loaded.device)
    said: list[str] = []
    thresholds = Thresholds(RESERVE, STEP, patience_s=0.5, hold_s=6.0, longest_hold_s=60.0)
    watcher = Watcher(free, thresholds, every_s=0.2, say=said.append).start()
    made = engine(loaded, watcher)
    watcher.about(made.most, footprint(loaded))
    done = threading.Event()
    trouble: list[BaseException] = []

    def tenants_day() -> None:
        """Takes what is free, goes on taking as it is given, and leaves once we have."""
        try:
            time.sleep(2)
            tenant.take(max(0, (free() - RESERVE) // STEP))
            while not any("park" in sentence for sentence in said):
                if free() > 2 * STEP:  # half of the reserve is always there for one more step
                    tenant.take(1)
                time.sleep(1.0)
                assert not done.is_set(), said
            time.sleep(3)
            tenant.take(-1)
            while not any("return" in sentence for sentence in said):
                time.sleep(0.5)
        except BaseException as error:
            trouble.append(error)
            tenant.process.kill()

    thread = threading.Thread(target=tenants_day)
    thread.start()
    end = time.monotonic() + 240
    while not any("return" in sentence for sentence in said) and time.monotonic() < end:
        assert_same(made.run(requests), expected)  # again and again, until all has happened
        assert not trouble, (trouble, said)
    done.set()
    thread.join(60)
    watcher.stop()
    print(*said, sep="\n")
    words = [sentence.split()[2] for sentence in said]
    assert words.index("shrink") < words.index("park") < words.index("return")
    assert tenant.process.poll() is None and not trouble  # it never ran out of memory


def footprint(loaded: LoadedModel) -> Footprint:
    return Footprint(*base_and_slot(loaded.spec, CONFIG, loaded.dtype, SLOTS))
