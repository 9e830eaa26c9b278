"""A model that leaves its device takes along whatever the experiments had put there.

The watcher parks it in the middle of real work; while it waits, everything in memory is
looked through.
"""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pitboss.engine.patches import Directions
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.runner import Runner
from pitboss.engine.screening import Screen
from pitboss.engine.stack import Stack
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.states import activations_table, prompt_states
from pitboss.experiments.screening.settings import ScreeningSettings
from pitboss.experiments.words.peaks import Text, most_active
from pitboss.floor.memory.guard import Thresholds
from pitboss.floor.memory.watcher import Watcher, while_parked
from pitboss.games.prompts import render
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.loading import SaeLayer
from pitboss.store import Store
from tests.engine.held import Parks, alive, held
from tests.experiments.banks import patching_of, selection_of
from tests.faults.patched import prepare

OWNERS = (Runner, Stack, PrefixStore, Directions, Screen, SaeLayer)
SCENES = ("exp2/safe", "exp2/risky")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("pitboss/lab-llama", dtype="float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = prepare(tmp_path_factory.mktemp("parked"))
    screening = ScreeningSettings(kind="screening", selection="features")
    experiments = {**plan.study.experiments, "screening": screening}
    return plan_of(plan.study.model_copy(update={"experiments": experiments}), plan.store)


@pytest.fixture
def prepared(made: Plan, tmp_path: Path) -> Plan:
    """A copy in which nothing is done yet."""
    shutil.copytree(made.store.path, tmp_path / made.study.name)
    return plan_of(made.study, Store.open(tmp_path / made.study.name))


def screened(context: ModelContext, plan: Plan) -> None:
    """Behind a chunk of patching, whose engine is used again afterwards."""
    patched(context, plan)
    carry_out(plan, next(plan["screening"].stages("llama"))[0], lambda _: context)
    assert alive(Screen)


def patched(context: ModelContext, plan: Plan) -> None:
    unit = next(unit for unit in patching_of(plan).trial_units() if not plan.done(unit))
    carry_out(plan, unit, lambda _: context)


def recorded(context: ModelContext, plan: Plan) -> None:
    """The states of which the features' sums are made."""
    prompts = [render(name).text for name in SCENES] * 20
    decisions = pd.DataFrame({"key": map(str, range(len(prompts))), "prompt_text": prompts})
    states = prompt_states(context, decisions, (1, 2), 1, 8)
    assert states.shape == (40, context.loaded.spec.d_model)


def encoded(context: ModelContext, plan: Plan) -> None:
    """SAEs that stay for the next batch of games."""
    states = {"a": context.loaded.model.get_input_embeddings().weight[:2].clone()}
    activations_table(context, states, (1, 2), selection_of(plan).gate)
    assert alive(SaeLayer)


@pytest.mark.parametrize("before", [screened, encoded, patched])
@pytest.mark.parametrize("work", [patched, recorded])
def test_nothing_that_owns_device_memory_is_left_while_it_waits(
    loaded: LoadedModel,
    prepared: Plan,
    before: Callable[[ModelContext, Plan], None],
    work: Callable[[ModelContext, Plan], None],
) -> None:
    seen: list[Counter[str]] = []
    before_it = Counter(alive(*OWNERS))  # what other tests of this process keep
    free = 10**12

    def ask() -> None:
        nonlocal free
        free = 10**12
        seen.append(Counter(alive(*OWNERS)) - before_it)

    thresholds = Thresholds(reserve=10**6, margin=0, patience_s=0, hold_s=0.01, longest_hold_s=0.01)
    watcher = Watcher(lambda: free, thresholds, every_s=0.001, say=lambda _: None).start()
    context = ModelContext(prepared.study, "llama", loaded, [], watcher)
    before(context, prepared)
    free = 0
    with while_parked(ask):
        work(context, prepared)
    watcher.stop()
    assert seen and not any(seen)


def test_a_reader_of_texts_that_waits_holds_no_states(loaded: LoadedModel, prepared: Plan) -> None:
    bank = selection_of(prepared).bank()
    texts = [Text(tuple(range(first, first + 200)), 50, str(first)) for first in range(3, 9)]
    on_the_host = sum(getattr(bank, name).nbytes for name in bank.__slots__[:8])
    before = held()
    pressure = Parks(3, 4, most=2)
    found, _ = most_active(loaded, bank, texts, 3, slots=2, pressure=pressure)
    assert found[0] and len(pressure.away) == 2
    states = 200 * loaded.spec.d_model * 4
    assert max(pressure.away) - before <= 2 * on_the_host < states
