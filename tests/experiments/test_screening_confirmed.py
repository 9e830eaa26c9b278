"""Patching that takes its features from the screening: those that lead, and no others."""

from pathlib import Path

import pytest
import torch

from pitboss.errors import BadInput, Incomplete, Mismatch
from pitboss.experiments import summary
from pitboss.experiments.patching import effects
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection.experiment import load_bank
from tests.experiments.screened import after_selection, screen
from tests.experiments.small import ALIAS, Whole


@pytest.mark.parametrize("which", ["all", "selected"])
def test_patching_confirms_the_features_that_lead(whole: Whole, tmp_path: Path, which: str) -> None:
    confirm = {"screen": True, "confirm": "top 5", "trials": 2}
    lane, store = after_selection(whole, tmp_path, screening={"features": which}, patching=confirm)
    study = lane.study
    with pytest.raises(BadInput, match="bank"):
        patching.units(study, store)
    screen(lane, store)
    ranked = ranking.top(study, store, 5)
    units = patching.units(study, store)
    named = {(unit.payload.bank.layer[i].item(), unit.payload.bank.feature[i].item())
             for unit in units for i in range(len(unit.payload.bank))}  # fmt: skip
    assert named == set(zip(ranked["layer"], ranked["feature"], strict=True)) and len(named) == 5
    selected = {unit.key for unit in patching.units(whole.study, whole.store)}
    for unit in units:
        assert unit.identity["screened"]["confirm"] == 5 and unit.key not in selected
    # What is patched is the feature and the values that the selection would have patched.
    bank, other = ranking.patched_bank(study, store), load_bank(study, store, ALIAS)
    pairs = list(zip(other.layer.tolist(), other.feature.tolist(), strict=True))
    rows = other.rows([pairs.index(pair) for pair in sorted(named)])
    for name in ("enc", "shift", "scale", "bias", "threshold", "dec"):
        assert torch.equal(getattr(bank, name), getattr(rows, name))
    assert all(torch.equal(bank.values[name], rows.values[name]) for name in ("safe", "risky"))
    for unit in patching.all_units(study, store):
        patching.run(lane, store, unit)
    effects.run(study, store)
    tested = store.read("effects", [effects.key(study, store)]).to_pandas()
    mine = tested[tested["role"] == "feature"]
    assert set(zip(mine["layer"], mine["feature"], strict=True)) == named
    with pytest.raises(Incomplete):
        summary.write(study, store)
    told = store.read_json("summary.json")
    assert told["patched_features"] == told["screened"]["confirm"] == 5
    assert not [problem for problem in told["problems"] if problem.startswith(("patch", "screen"))]
    # Another number is another bank.
    fewer = study.model_copy(update={"patching": study.patching.model_copy(update={"confirm": 3})})
    with pytest.raises(Mismatch, match="confirm 5, this work needs 3"):
        patching.units(fewer, store)


def test_features_that_change_nothing_are_not_confirmed(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, patching={"screen": True, "confirm": 512})
    screen(lane, store)
    ranked = ranking.top(lane.study, store)
    moving = int((~ranked["unchanged"]).sum())
    assert len(ranked) == 512 and len(ranking.patched_bank(lane.study, store)) == moving < 512
