"""The units of a selection: what they refuse, what they make again, and what others see of them."""

import shutil
import weakref
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from pitboss.errors import BadInput
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime import states
from pitboss.experiments.runtime.artifacts import FigureArtifact, NoteArtifact, TableArtifact
from pitboss.experiments.runtime.carry_out import carry_out, carry_out_all
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.selection import choice
from pitboss.experiments.selection.experiment import Selection
from pitboss.saes.loading import Gate, SaeLayer, load_sae
from pitboss.store import Store
from tests.experiments.banks import selection_of
from tests.experiments.small import ALIAS, LAYERS, Whole, on, small_study


def copied(whole: Whole, root: Path) -> Plan:
    """The same study over a copy of its files."""
    path = shutil.copytree(whole.store.path, root / "small")
    return plan_of(whole.study, Store.open(path))


def test_an_sae_of_another_layer_is_refused_before_anything_is_summed(
    whole: Whole, tmp_path: Path
) -> None:
    plan = copied(whole, tmp_path)
    selection = selection_of(plan)
    [unit, *_] = selection.sums
    assert unit.payload == 1
    (plan.store.path / "parts" / "sums" / f"{unit.key}.parquet").unlink()
    context = on(whole.context, plan)
    context._saes[1, selection.gate] = replace(context.sae(3, selection.gate), layer=1)
    with pytest.raises(BadInput, match=r"\[reconstruction 1\] layer 1 leaves"):
        carry_out(plan, unit, lambda _: context)
    assert unit.ref(plan.store) is None


def test_layers_captured_in_several_passes_give_the_same_bytes(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, passes = copied(whole, tmp_path), []
    sums = plan.store.path / "parts" / "sums"
    before = {p.name: p.read_bytes() for p in sums.rglob("*.parquet")}
    shutil.rmtree(sums)
    monkeypatch.setattr(states, "_STATES_BYTES", 1)
    monkeypatch.setattr(states, "_CAPTURED_AT_ONCE", 7)
    context = on(whole.context, plan)
    engine = context.engine
    monkeypatch.setattr(context, "engine", lambda asked: passes.append(asked) or engine(asked))
    for unit in selection_of(plan).sums:
        carry_out(plan, unit, lambda _: context)
    assert [asked.capture_layers for asked in passes] == [(layer,) for layer in LAYERS]
    after = {p.name: p.read_bytes() for p in sums.rglob("*.parquet")}
    assert after == before and len(after) == len(LAYERS)
    assert not context._saes  # each was of use once


def test_the_choice_loads_each_sae_once_and_holds_two_at_most(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    loaded, most = [], 0

    def load(release: str, layer: int, gate: Gate) -> SaeLayer:
        nonlocal most
        sae = load_sae(release, layer, gate)
        loaded.append(layer)
        alive.append(weakref.ref(sae.W_enc))
        most = max(most, sum(ref() is not None for ref in alive))
        return sae

    monkeypatch.setattr(choice, "load_sae", load)
    plan = copied(whole, tmp_path)
    selection = selection_of(plan)
    selection.bank_path.unlink()
    carry_out(plan, selection.choice, no_model)
    assert loaded == LAYERS
    assert most <= 2
    assert not any(ref() is not None for ref in alive)
    bank, before = selection.bank(), selection_of(whole.plan).bank()
    assert torch.equal(bank.enc, before.enc) and torch.equal(bank.dec, before.dec)


def no_model(alias: str) -> NoReturn:
    raise AssertionError(f"nothing here needs {alias} on the device")


@pytest.mark.parametrize("harm", ["gone", "cut short", "another's"])
def test_a_bank_that_is_not_whole_is_made_again_from_what_is_stored(
    whole: Whole, tmp_path: Path, harm: str
) -> None:
    plan = copied(whole, tmp_path)
    selection = selection_of(plan)
    path, good = selection.bank_path, selection.bank_path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "cut short":
        path.write_bytes(good[:1000])
    else:
        replace(selection.bank(), meta={"features": "of another selection"}).save(path)
        plan = plan_of(whole.study, plan.store)
    selection = selection_of(plan)
    assert not plan.done(selection.choice) and not plan.finished("features")
    carry_out_all(plan, selection, ALIAS, no_model)
    assert plan.finished("features") and path.read_bytes() == good


def with_another(whole: Whole, root: Path) -> tuple[Plan, Selection]:
    """The same study with a second selection, of all that are tested, from the same sums."""
    rules = {"per_layer": 300, "min_abs_d": 0.0, "max_p": 1.0, "fdr": 0.999}
    wide = selection_of(whole.plan).settings.model_dump(mode="json") | rules
    path = shutil.copytree(whole.store.path, root / "small")
    plan = plan_of(small_study(wide=wide), Store.open(path))
    second = plan["wide"]
    assert isinstance(second, Selection)
    assert [unit.key for unit in second.sums] == [unit.key for unit in selection_of(plan).sums]
    carry_out_all(plan, second, ALIAS, no_model)  # the sums are those of the first
    return plan, second


def test_two_selections_of_one_study_have_banks_and_names_of_their_own(
    whole: Whole, tmp_path: Path
) -> None:
    plan, wide = with_another(whole, tmp_path)
    first = selection_of(plan)
    assert wide.key != first.key and wide.bank_path != first.bank_path
    assert len(wide.bank()) > len(first.bank()) == first.selected() > 0
    shown = [artifact for each in (first, wide) for artifact in each.results(ALIAS)]
    names = [(type(artifact), artifact.name) for artifact in shown]
    assert len(set(names)) == len(names) and (TableArtifact, "features-llama") in names


def test_what_is_shown_says_how_many_passed_and_what_to_doubt(whole: Whole, tmp_path: Path) -> None:
    _, wide = with_another(whole, tmp_path)
    features, layers, figure, doubts = wide.results(ALIAS)
    assert isinstance(features, TableArtifact) and isinstance(layers, TableArtifact)
    assert isinstance(figure, FigureArtifact) and isinstance(doubts, NoteArtifact)
    assert len(features.rows) == wide.selected() == len(wide.bank())
    assert [row["layer"] for row in layers.rows] == LAYERS
    by_layer = [sum(row["layer"] == layer for row in features.rows) for layer in LAYERS]
    assert [row["selected"] + row["included"] for row in layers.rows] == by_layer
    bank = wide.bank()
    values = torch.stack([bank.values["safe"], bank.values["risky"]])
    outside = int(((values > 0) & (values <= bank.threshold)).any(0).sum())
    assert outside and f"Patching to it leaves the SAE's range. ({outside})" in doubts.text
