"""The feature bank: what it holds, and that a foreign or damaged one is refused."""

import json

import pytest
import torch

from pitboss.errors import BadInput, Mismatch
from pitboss.saes.bank import FeatureBank
from pitboss.saes.loading import SaeLayer, as_layer

META = {"model": "pitboss/lab-llama", "gate": "sae_lens"}


@pytest.fixture
def saes(make_sae) -> list[SaeLayer]:
    return [
        as_layer(make_sae(kind, True), layer=layer, gate="sae_lens", norm_factor=None, source={})
        for layer, kind in ((5, "jumprelu"), (2, "gated"))
    ]


@pytest.fixture
def bank(saes) -> FeatureBank:
    values = {
        "safe": {(2, 9): 1.5, (5, 3): 0.25, (5, 1): 0.5},
        "risky": {(2, 9): 0.0, (5, 3): 2.0, (5, 1): 3.0},
    }
    return FeatureBank.build(saes, {5: [3, 1], 2: [9]}, values=values, meta=META)


def test_layers_ascend_and_ids_keep_their_order(bank):
    assert bank.layer.tolist() == [2, 5, 5]
    assert bank.feature.tolist() == [9, 3, 1]
    assert bank.values["risky"].tolist() == [0.0, 2.0, 3.0]


def test_each_row_holds_its_features_numbers(bank, saes):
    jumprelu = saes[0]
    assert torch.equal(bank.enc[1], jumprelu.W_enc[:, 3])
    assert torch.equal(bank.dec[1], jumprelu.W_dec[3])
    for name in ("shift", "scale", "bias", "threshold"):
        assert getattr(bank, name)[1] == getattr(jumprelu, name)[3]
    assert {t.dtype for t in (bank.enc, bank.dec, bank.threshold)} == {torch.float32}


def test_rows_mix_layers_in_any_order(bank, saes, x):
    rows = bank.rows([2, 0, 2])
    expected = [saes[0].encode(x[0])[1], saes[1].encode(x[1])[9], saes[0].encode(x[2])[1]]
    torch.testing.assert_close(rows.activation(x[:3]), torch.stack(expected))
    assert rows.values["safe"].tolist() == [0.5, 1.5, 0.5]


def test_a_saved_bank_comes_back_bit_by_bit(bank, tmp_path):
    bank.save(tmp_path / "deep" / "bank.safetensors")
    found = FeatureBank.load(tmp_path / "deep" / "bank.safetensors", expect=META)
    for name in ("layer", "feature", "enc", "dec", "shift", "scale", "bias", "threshold"):
        assert torch.equal(getattr(found, name), getattr(bank, name)), name
    assert found.values.keys() == bank.values.keys()
    assert torch.equal(found.values["safe"], bank.values["safe"])
    assert found.meta == bank.meta
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == [
        "bank.safetensors",
        "bank.safetensors.json",
    ]


def test_saving_twice_writes_the_same_bytes(bank, tmp_path):
    bank.save(tmp_path / "a")
    bank.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_bank_of_another_gate_is_refused_by_field(bank, tmp_path):
    bank.save(tmp_path / "bank")
    with pytest.raises(Mismatch, match="gate 'sae_lens', this work needs 'authors'"):
        FeatureBank.load(tmp_path / "bank", expect={**META, "gate": "authors"})


def test_damaged_or_missing_files_are_refused(bank, tmp_path):
    path, beside = tmp_path / "bank", tmp_path / "bank.json"
    bank.save(path)
    facts = json.loads(beside.read_text())
    good = path.read_bytes()
    path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    with pytest.raises(BadInput, match="damaged"):
        FeatureBank.load(path)
    path.write_bytes(good)
    beside.write_text(json.dumps(facts)[:-5])
    with pytest.raises(BadInput, match="damaged"):
        FeatureBank.load(path)
    beside.unlink()
    with pytest.raises(BadInput, match="incomplete"):
        FeatureBank.load(path)


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({5: [40]}, "feature 40 is outside 0-39"),
        ({5: [-1]}, "feature -1 is outside"),
        ({5: [1, 1]}, "selected twice"),
        ({5: [1], 6: [1]}, r"layers \[6\]"),
        ({}, "holds no feature"),
    ],
)
def test_impossible_selections_are_refused(selection, message, saes):
    with pytest.raises(BadInput, match=message):
        FeatureBank.build(saes, selection)


def test_a_missing_target_value_is_refused(saes):
    with pytest.raises(BadInput, match=r"no value 'safe'.*\(5, 3\)"):
        FeatureBank.build(saes, {5: [1, 3]}, values={"safe": {(5, 1): 1.0}})
