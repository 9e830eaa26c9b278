"""Real games on a model whose memory somebody else takes and gives back: the same bytes."""

from pathlib import Path

import pytest
import torch

from pitboss.engine import EngineConfig
from pitboss.errors import BadInput
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.experiments.runtime.context import ModelContext, watch
from pitboss.floor.memory.guard import Thresholds
from pitboss.floor.memory.watcher import Watcher
from pitboss.models.loading import LoadedModel, load_model
from pitboss.studies.model import Study
from tests.experiments.small import ALIAS, parquet_bytes, small_plan, small_study

RESERVE = 1_000_000
GAMES = {"conditions": ["variable/BASE"], "repetitions": 4, "max_rounds": 2}


@pytest.fixture(scope="module")
def loaded() -> LoadedModel:
    return load_model("pitboss/lab-llama", dtype="float32")


class Tenant:
    """Free bytes of a device beside somebody who takes all of it until the model has left, leaves
    until it has returned, and comes once more: however fast the games are, they meet.

    Args:
        said: What the watcher has said so far.
    """

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def __call__(self) -> int:
        words = [sentence.split()[2] for sentence in self.said]
        parked, returned = words.count("park"), words.count("return")
        return 10**12 if parked > returned or parked == 2 else 0


def played(loaded: LoadedModel, root: Path, watcher: Watcher | None) -> dict[str, bytes]:
    """The files that one batch of games leaves."""
    plan = small_plan(root, games=GAMES)
    context = ModelContext(plan.study, ALIAS, loaded, [], watcher)
    carry_out_all(plan, plan["games"], ALIAS, lambda alias: context)
    return parquet_bytes(plan.store)


def test_a_tenant_that_comes_and_goes_changes_no_byte(loaded: LoadedModel, tmp_path: Path) -> None:
    said: list[str] = []
    thresholds = Thresholds(reserve=RESERVE, margin=0, patience_s=0, hold_s=0.2, longest_hold_s=0.2)
    watcher = Watcher(Tenant(said), thresholds, every_s=0.01, say=said.append).start()
    shared = played(loaded, tmp_path / "shared", watcher)
    words = [sentence.split()[2] for sentence in said]
    assert "park" in words and "return" in words, words
    calm = played(loaded, tmp_path / "calm", None)
    assert shared == calm and len(calm) == 2
    assert watcher._ended.is_set()  # a model that is gone is watched no more


def test_the_footprint_given_to_the_guard_is_the_memory_models(
    loaded: LoadedModel,
) -> None:
    watcher = Watcher(lambda: 10**12, Thresholds(reserve=RESERVE, margin=0))
    context = ModelContext(small_study(), ALIAS, loaded, [], watcher)
    engine = context.engine(
        EngineConfig(
            width=context.width, prompt_capacity=64, token_capacity=100, slots=8, prefixes=2
        )
    )
    assert watcher.guard is not None and watcher.guard.cap == engine.most == 8
    token = 2 * loaded.spec.n_layers * loaded.spec.n_kv_heads * loaded.spec.head_dim * 4
    directions = 2 * 4 * loaded.spec.d_model
    assert watcher.guard.footprint.slot == 100 * token + directions
    assert watcher.guard.footprint.base > loaded.spec.n_params * 4


def test_where_there_is_no_gpu_or_no_reserve_nobody_watches() -> None:
    study = small_study()
    assert study.engine.reserve_gb == 2.0
    assert watch(torch.device("cpu"), study, 10**9) is None
    without = study.engine.model_copy(update={"reserve_gb": None})
    assert watch(torch.device("cuda"), study.model_copy(update={"engine": without}), 1) is None


def test_a_model_that_does_not_fit_beside_the_others_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = small_study()
    free = 9_000_000_000
    monkeypatch.setattr(
        "pitboss.experiments.runtime.context.nvml_headroom", lambda uuid: lambda: free
    )
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: type("Gpu", (), {"uuid": "0"})
    )
    watcher = watch(torch.device("cuda"), study, 5_000_000_000)
    assert watcher is not None and watcher.thresholds.reserve == 2_000_000_000
    watcher.stop()
    with pytest.raises(BadInput, match="0.1 GB are missing"):
        watch(torch.device("cuda"), study, 6_000_000_000)
    small = replace_memory(study, 4.0)
    with pytest.raises(BadInput, match="4.0 GB are allowed"):
        watch(torch.device("cuda"), small, 5_000_000_000)


def replace_memory(study: Study, memory_gb: float) -> Study:
    engine = study.engine.model_copy(update={"memory_gb": memory_gb})
    return study.model_copy(update={"engine": engine})


def test_saes_stay_while_they_fit_and_the_least_recently_used_goes_first(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = ModelContext(small_study(), ALIAS, loaded, [])
    one = context.sae(0, "sae_lens")
    size = one.W_enc.nbytes + one.W_dec.nbytes
    # Half of what is free takes one more beside one, and none beside two.
    monkeypatch.setattr(
        "pitboss.experiments.runtime.context.free_bytes",
        lambda device: size * (4 - 2 * len(context._saes)),
    )
    context.sae(1, "sae_lens")
    assert context.sae(0, "sae_lens") is one
    context.sae(2, "sae_lens")
    assert [layer for layer, _ in context._saes] == [0, 2]
    context.sae(3, "sae_lens", keep=False)
    assert [layer for layer, _ in context._saes] == [0, 2]
