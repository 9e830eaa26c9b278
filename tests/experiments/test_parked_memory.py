"""A model that leaves its device takes along whatever the experiments had put there.

The lane's watcher parks it in the middle of real work; while it waits, everything in memory is
looked through.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from pitboss.engine.patches import Directions
from pitboss.engine.prefix import PrefixStore
from pitboss.engine.runner import Runner
from pitboss.engine.screening import Screen
from pitboss.engine.stack import Stack
from pitboss.experiments import patching, screening
from pitboss.experiments.features import bank_path
from pitboss.experiments.lane import Lane
from pitboss.experiments.peaks import Text, most_active
from pitboss.experiments.states import activations_table, prompt_states
from pitboss.floor.memory.guard import Thresholds
from pitboss.floor.memory.watcher import Watcher, while_parked
from pitboss.games.prompts import render
from pitboss.models.loading import LoadedModel, load_model
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer
from pitboss.store import Store
from pitboss.studies.model import Screening, Study
from tests.engine.held import Parks, alive, held
from tests.faults.patched import prepare

OWNERS = (Runner, Stack, PrefixStore, Directions, Screen, SaeLayer)
SCENES = ("exp2/safe", "exp2/risky")


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("pitboss/lab-llama", dtype="float32")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Store]:
    study, store = prepare(tmp_path_factory.mktemp("parked"))
    return study.model_copy(update={"screening": Screening(model="llama")}), store


@pytest.fixture
def prepared(made: tuple[Study, Store], tmp_path: Path) -> tuple[Study, Store]:
    """A copy in which nothing is done yet."""
    study, store = made
    shutil.copytree(store.path, tmp_path / study.name)
    return study, Store.open(tmp_path / study.name)


def screened(lane: Lane, store: Store) -> None:
    """Behind a chunk of patching, whose engine is used again afterwards."""
    patched(lane, store)
    screening.run(lane, store, screening.units(lane.study, store)[0])
    assert alive(Screen) and alive(Runner)


def patched(lane: Lane, store: Store) -> None:
    unit = next(unit for unit in patching.all_units(lane.study, store) if not unit.ref(store))
    patching.run(lane, store, unit)


def recorded(lane: Lane, store: Store) -> None:
    """The states of which the features' sums are made."""
    prompts = [render(name).text for name in SCENES] * 20
    decisions = pd.DataFrame({"key": map(str, range(len(prompts))), "prompt_text": prompts})
    assert prompt_states(lane, decisions, 1, 8).shape == (40, lane.loaded.spec.d_model)


def encoded(lane: Lane, store: Store) -> None:
    """SAEs that stay for the next batch of games."""
    states = {"a": lane.loaded.model.get_input_embeddings().weight[:2].clone()}
    activations_table(lane, states, (1, 2), lane.study.features.gate)
    assert alive(SaeLayer)


@pytest.mark.parametrize("before", [screened, encoded, patched])
@pytest.mark.parametrize("work", [patched, recorded])
def test_nothing_that_owns_device_memory_is_left_while_a_lane_waits(
    loaded: LoadedModel,
    prepared: tuple[Study, Store],
    before: Callable[[Lane, Store], None],
    work: Callable[[Lane, Store], None],
) -> None:
    study, store = prepared
    seen: list[list[str]] = []
    free = 10**12

    def ask() -> None:
        nonlocal free
        free = 10**12
        seen.append(alive(*OWNERS))

    thresholds = Thresholds(reserve=10**6, margin=0, patience_s=0, hold_s=0.01, longest_hold_s=0.01)
    watcher = Watcher(lambda: free, thresholds, every_s=0.001, say=lambda _: None).start()
    lane = Lane(study, "llama", loaded, [], watcher)
    before(lane, store)
    free = 0
    with while_parked(ask):
        work(lane, store)
    watcher.stop()
    assert seen and not any(seen)


def test_a_reader_of_texts_that_waits_holds_no_states(
    loaded: LoadedModel, prepared: tuple[Study, Store]
) -> None:
    bank = FeatureBank.load(bank_path(prepared[1], "llama"))
    texts = [Text(tuple(range(first, first + 200)), 50, str(first)) for first in range(3, 9)]
    on_the_host = sum(getattr(bank, name).nbytes for name in bank.__slots__[:8])
    before = held()
    pressure = Parks(3, 4, most=2)
    found, _ = most_active(loaded, bank, texts, 3, slots=2, pressure=pressure)
    assert found[0] and len(pressure.away) == 2
    states = 200 * loaded.spec.d_model * 4
    assert max(pressure.away) - before <= 2 * on_the_host < states
