"""The original study's real table: used when it says what it is, and its oddities are named."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pitboss.errors import BadInput, Mismatch
from pitboss.saes.imported import FeatureSpace, import_statistics, select_imported
from pitboss.saes.selection import SelectionRules
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of

REAL = Path(__file__).parents[2] / "data" / "original" / "llama_scope_features_L25_L30.json"
OWN = FeatureSpace(
    space="sae",
    model="meta-llama/Llama-3.1-8B",
    sae="llama_scope_lxr_8x",
    gate="relu",
    hook_point="blocks.{layer}.hook_resid_post",
    token="prompt_last",
    d_sae=32768,
)


def read(path: Path = REAL, own: FeatureSpace = OWN, thresholds=None, **changes):
    return import_statistics(
        path, declared={**asdict(OWN), **changes}, own=own, thresholds=thresholds
    )


def test_the_real_table_is_read_and_its_oddities_are_counted() -> None:
    imported = read(thresholds={25: 0.05, 30: 0.05})
    assert len(imported.frame) == 1480
    doubts = {doubt.rule: doubt.entries for doubt in imported.doubts}
    entries = json.loads(REAL.read_text())
    means = [(e["safe_mean"], e["bankrupt_mean"]) for e in entries]
    assert doubts == {
        "p_zero": 155,
        "large_d": 27,
        "outside_gate": sum(any(0 < m <= 0.05 for m in pair) for pair in means),
    }
    assert imported.frame["log_p"].isna().sum() == 155  # unknown, not minus infinity


def test_selection_from_it_ranks_by_d_and_claims_no_q() -> None:
    chosen = select_imported(read(), SelectionRules(per_layer=300))
    layers = chosen.layers.set_index("layer")
    assert layers.loc[25, "selected"] == 270 and layers.loc[25, "shortfall"] == 30
    assert layers.loc[30, "selected"] == 300 and layers.loc[30, "passed"] == 1210
    top = chosen.features[(chosen.features["layer"] == 30) & (chosen.features["rank"] == 1)]
    assert top["feature"].item() == 28337 and top["d"].item() == pytest.approx(-7.0657, abs=1e-4)
    assert chosen.features["q"].isna().all() and chosen.rules["fdr"] is None
    conform(kind_of("features"), chosen.table)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("space", "hidden"),
        ("model", "meta-llama/Llama-3.1-8B-Instruct"),
        ("sae", "llama_scope_lxr_32x"),
        ("gate", "sae_lens"),
        ("hook_point", "blocks.{layer}.hook_resid_pre"),
        ("token", "mean"),
        ("d_sae", 4096),
    ],
)
def test_another_space_is_refused_by_its_field(field: str, value: object) -> None:
    with pytest.raises(Mismatch, match=f"{field}: .* here, .* asked"):
        read(**{field: value})


def test_without_a_full_declaration_the_table_is_refused() -> None:
    with pytest.raises(BadInput, match=r"missing \['model', 'sae'.*Declare each of"):
        import_statistics(REAL, declared={"space": "sae"}, own=OWN)
    with pytest.raises(BadInput, match=r"unknown \['colour'\]"):
        read(colour="red")


def test_ids_of_a_wider_sae_are_refused() -> None:
    narrow = replace(OWN, d_sae=16384)
    with pytest.raises(Mismatch, match=r"ids lie outside 0\.\.16383"):
        read(own=narrow, d_sae=16384)


def test_oddities_of_signs_and_damaged_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    entry = {"layer": 1, "feature_id": 2, "p_value": 1e-9, "cohens_d": -1.0}
    path.write_text(json.dumps([{**entry, "safe_mean": -0.1, "bankrupt_mean": 0.4}]))
    assert {d.rule for d in read(path).doubts} == {"negative_mean", "sign"}
    cases = [
        ("[", "not JSON"),
        ("{}", "not a list"),
        (json.dumps([entry]), "lack bankrupt_mean, safe_mean"),
        (json.dumps([{**entry, "safe_mean": "a", "bankrupt_mean": 1}]), "not finite numbers"),
        (json.dumps([{**entry, "safe_mean": 1, "bankrupt_mean": 1}] * 2), "more than once"),
        (json.dumps([{**entry, "safe_mean": 1, "bankrupt_mean": 1, "p_value": 2}]), "outside 0..1"),
    ]
    for text, said in cases:
        path.write_text(text)
        with pytest.raises(BadInput, match=said):
            read(path)
    with pytest.raises(BadInput, match="does not exist"):
        read(tmp_path / "none.json")
