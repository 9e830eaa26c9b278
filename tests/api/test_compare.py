"""Comparing two studies: what differs, and what must not be compared."""

import json
import math
from pathlib import Path

import pytest

import pitboss
from pitboss.api.compare import compare, fields
from pitboss.errors import Mismatch
from pitboss.store import Store
from tests.api.made import make


def test_settings_are_compared_by_path() -> None:
    assert fields({"a": {"b": [1, 2], "c": {}}, "d": None}) == {"a.b": [1, 2], "a.c": {}, "d": None}


def test_gained_lost_and_one_sided_features_and_the_settings_behind_them(root: Path) -> None:
    found = pitboss.compare("small", "other", root)
    assert found.settings["setting"].tolist() == ["seed", "experiments.patching.trials"]
    changes = {(r.layer, r.feature): r.change for r in found.findings.itertuples()}
    assert changes == {(1, 7): "lost", (3, 12): "gained", (3, 13): "only b"}
    assert found.changes == {"lost": 1, "gained": 1, "only b": 1}
    counts = found.counts.set_index("table")
    assert counts.loc["trials", ["a", "b", "difference"]].tolist() == [200, 280, 80]
    assert any("trials alone" in caution for caution in found.cautions)
    assert "gained" in repr(found) and "patching.trials" in repr(found)
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_turned_effect_and_one_that_is_kept(tmp_path: Path) -> None:
    turned = {(1, 7): {"exp2/safe": (3, 16), "exp2/risky": (4, 18)}}
    kept = {(1, 7): {"exp2/safe": (15, 3), "exp2/risky": (18, 5)}}
    make(tmp_path, "first", {(1, 7): {"exp2/safe": (16, 3), "exp2/risky": (18, 4)}})
    make(tmp_path, "turned", turned, seed=3)
    make(tmp_path, "kept", kept)
    assert pitboss.compare("first", "turned", tmp_path).changes == {"turned": 1}
    same_seed = pitboss.compare("first", "kept", tmp_path)
    assert same_seed.changes == {"kept": 1}
    assert any("share their noise" in caution for caution in same_seed.cautions)
    assert not same_seed.effects["differs"].any()


def test_the_change_of_an_effect_has_the_interval_of_zou_and_donner(root: Path) -> None:
    found = pitboss.compare("small", "other", root).effects
    row = found[
        (found["layer"] == 1) & (found["prompt"] == "exp2/risky")
        & (found["contrast"] == "safe_vs_risky")
    ].iloc[0]  # fmt: skip
    effects = [
        r.effects.query("layer == 1 and prompt == 'exp2/risky' and contrast == 'safe_vs_risky'")
        for r in (pitboss.open("small", root), pitboss.open("other", root))
    ]
    (d1, l1, u1), (d2, l2, u2) = (
        [float(e[c].iloc[0]) for c in ("difference", "ci_low", "ci_high")] for e in effects
    )
    assert row["change"] == pytest.approx(0.05 - 0.70)
    assert row["change_low"] == pytest.approx(d2 - d1 - math.hypot(d2 - l2, u1 - d1))
    assert row["change_high"] == pytest.approx(d2 - d1 + math.hypot(u2 - d2, d1 - l1))
    assert row["differs"]
    assert (found["contrast"] == "safe_vs_risky").head(4).all()  # the primary ones lead


def test_other_saes_or_models_are_refused_with_the_reason(root: Path, tmp_path: Path) -> None:
    small = pitboss.open("small", root)
    settings = json.loads((root / "small" / "manifest.json").read_text())
    settings["name"] = "elsewhere"
    settings["models"]["llama"] = {"id": "another/model", "sae": "another-sae"}
    elsewhere = pitboss.api.Results(Store.create(tmp_path, settings))
    found = compare(small, elsewhere)
    assert len(found.refused) == 3  # model, SAE, and no findings there
    assert "pitboss/lab-llama in small, another/model in elsewhere" in found.refused[0]
    assert found.changes == {} and "models.llama.sae" in found.settings["setting"].tolist()
    with pytest.raises(Mismatch, match="Another SAE release"):
        found.findings  # noqa: B018
    assert "Findings are not compared" in repr(found)
    assert found.as_dict()["effects"] is None
