"""Patching that takes its features from the screening: those that lead, and no others."""

import shutil
from pathlib import Path

import pytest
import torch

from pitboss.errors import BadInput
from pitboss.experiments.patching.experiment import Patching
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out_all
from pitboss.saes.bank import FeatureBank
from tests.experiments.banks import selection_of
from tests.experiments.screened import after_selection, screen, screening_of
from tests.experiments.small import ALIAS, NO_CONTROLS, Whole, small_study

CONFIRM = {"bank": "screening", "confirm": "top 5", "trials": 2, "controls": NO_CONTROLS}


def pairs_of(bank: FeatureBank) -> list[tuple[int, int]]:
    return list(zip(bank.layer.tolist(), bank.feature.tolist(), strict=True))


@pytest.mark.parametrize("which", ["all", "selected"])
def test_patching_confirms_the_features_that_lead(whole: Whole, tmp_path: Path, which: str) -> None:
    plan, context = after_selection(
        whole, tmp_path, screening={"features": which}, patching=CONFIRM
    )
    patching, screening = plan["patching"], screening_of(plan)
    assert isinstance(patching, Patching)
    with pytest.raises(BadInput, match="bank"):
        list(patching.stages(ALIAS))
    screen(plan, context)
    ranked = screening.ranked(5)
    units = [unit for unit in patching.trial_units() if unit.payload.bank is not None]
    named = {pair for unit in units for pair in pairs_of(unit.payload.bank)}
    assert named == set(zip(ranked["layer"], ranked["feature"], strict=True)) and len(named) == 5
    for unit in units:
        assert unit.identity["screened"] == {"ranking": screening.ranking_key, "confirm": 5}
    # What is patched is the feature and the values that the selection would have patched.
    bank, other = screening.bank(5), selection_of(plan).bank()
    rows = other.rows([pairs_of(other).index(pair) for pair in sorted(named)])
    for name in ("enc", "shift", "scale", "bias", "threshold", "dec"):
        assert torch.equal(getattr(bank, name), getattr(rows, name))
    assert all(torch.equal(bank.values[name], rows.values[name]) for name in ("safe", "risky"))
    carry_out_all(plan, patching, ALIAS, lambda _: context)
    tested = plan.store.read("effects", [patching.effects_key]).to_pandas()
    mine = tested[tested["role"] == "feature"]
    assert set(zip(mine["layer"], mine["feature"], strict=True)) == named
    assert screening.summary()["screened"]["confirm"] == 5
    assert screening.shifts()[min(named)] == pytest.approx(
        ranked.set_index(["layer", "feature"]).loc[min(named), "contrast"]
    )


def test_another_number_is_another_bank_and_each_is_there(whole: Whole, tmp_path: Path) -> None:
    plan, context = after_selection(whole, tmp_path, patching=CONFIRM)
    screen(plan, context)
    second = {**plan["patching"].settings.model_dump(mode="json"), "confirm": 4}
    fewer = small_study(patching={**CONFIRM, "confirm": 3}, second=second)
    again = plan_of(fewer, plan.store)
    screening = screening_of(again)
    assert screening.counts == [3, 4]
    assert screening.ranking_key == screening_of(plan).ranking_key
    assert not again.done(screening.ranking)  # their banks are missing
    screen(again, context)
    leading = screening.ranked(5)
    pairs = list(zip(leading["layer"], leading["feature"], strict=True))
    for count in (3, 4, 5):
        assert set(pairs_of(screening.bank(count))) == set(pairs[:count])
    shutil.copy(screening.bank_path(5), screening.bank_path(3))
    shutil.copy(f"{screening.bank_path(5)}.json", f"{screening.bank_path(3)}.json")
    assert not plan_of(fewer, plan.store).finished("screening")
    with pytest.raises(BadInput, match="confirm 5, this work needs 3"):
        screening_of(plan_of(fewer, plan.store)).bank(3)


def test_features_that_change_nothing_are_not_confirmed(whole: Whole, tmp_path: Path) -> None:
    plan, context = after_selection(whole, tmp_path, patching={**CONFIRM, "confirm": 512})
    screen(plan, context)
    screening = screening_of(plan)
    ranked = screening.ranked()
    moving = int((~ranked["unchanged"]).sum())
    assert len(ranked) == 512 and len(screening.bank(512)) == moving < 512
