"""The end of a study: counts agree, what is missing is named, and a repair gives the same bytes."""

import json
import shutil
from pathlib import Path

import pytest

from pitboss.errors import Incomplete
from pitboss.experiments import summary
from pitboss.experiments.registry import plan_of
from pitboss.store import Store
from tests.experiments.small import Whole, parquet_bytes, run_everything

KINDS = ["games", "decisions", "sums", "statistics", "features", "activations", "pathway"]
KINDS += ["pathway_curve", "trials", "effects", "findings", "tokens", "words", "screening"]
KINDS += ["ranking"]
KINDS += ["adjustments", "decodability", "lens", "attribution"]


@pytest.fixture
def copy(whole: Whole, tmp_path: Path) -> Whole:
    """The finished study in a folder of its own, to be damaged."""
    path = shutil.copytree(whole.store.path, tmp_path / whole.store.path.name)
    return fresh(whole, path)


def fresh(whole: Whole, path: Path) -> Whole:
    """What has not looked into the folder yet."""
    return whole._replace(plan=plan_of(whole.study, Store.open(path)))


def test_every_experiment_left_what_was_expected(copy: Whole) -> None:
    found = summary.write(copy.plan)
    assert found["complete"] and found["problems"] == []
    assert {name.split()[0] for name in found["experiments"]} == {
        "games",
        "features",
        "pathway",
        "screening",
        "patching",
        "words",
    }
    for experiment in found["experiments"].values():
        assert experiment["parts"]["actual"] == experiment["parts"]["expected"] > 0
        for step in experiment["steps"].values():
            assert step["rows"]["expected"] in (None, step["rows"]["actual"])
    patching, games = found["experiments"]["patching"], found["experiments"]["games"]
    features = found["patched_features"]
    arms = 2 * features + 2 * 6 + 2 * 6 + 2 + 2 + 1  # controls, layers, baseline
    assert patching["steps"]["trials"]["rows"]["actual"] == 2 * 20 * arms
    assert patching["steps"]["effects"]["rows"]["actual"] == 2 * 3 * 4 * (features + 6 + 6)
    assert patching["steps"]["findings"]["rows"]["actual"] == features
    assert found["controls"]["own_value"] == {"runs": 80, "identical": 80}
    assert games["steps"]["games"]["rows"]["actual"] == 34 * 2
    screened = found["experiments"]["screening"]["steps"]
    assert screened["screening"]["rows"]["actual"] == 2 * 256 * 2 * 2
    assert screened["ranking"]["rows"]["actual"] == found["screened"]["features"] == 2 * 256
    assert found["screened"]["planted_causal_leading"] == found["screened"]["planted_causal"] == 24
    assert 0.9 < games["valid_responses"]["rate"] <= 1
    assert patching["wall_seconds"] > 0 and patching["rows_per_second"] > 0
    assert json.loads((copy.store.path / "summary.json").read_text()) == found


def test_the_final_files_hold_every_row_once(copy: Whole) -> None:
    summary.write(copy.plan)
    for kind in KINDS:
        assert (copy.store.path / f"{kind}.parquet").is_file()
    first = parquet_bytes(copy.store)
    summary.write(copy.plan)
    assert parquet_bytes(copy.store) == first


def test_a_second_run_computes_nothing(copy: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    def untouched() -> dict[str, int]:
        return {p: (copy.store.path / p).stat().st_mtime_ns for p in parquet_bytes(copy.store)}

    before = untouched()
    monkeypatch.setattr("pitboss.engine.Engine.run", _refuse)
    monkeypatch.setattr("pitboss.experiments.runtime.context.load_sae", _refuse)
    monkeypatch.setattr("pitboss.experiments.screening.shifts.Screen", _refuse)
    again = fresh(copy, copy.store.path)
    run_everything(again.plan, again.context)
    assert untouched() == before


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("finished work is done again")


@pytest.mark.parametrize(
    ("kind", "damage"),
    [
        ("games", "lost"),
        ("decisions", "lost"),
        ("sums", "cut short"),
        ("features", "one bit"),
        ("activations", "cut short"),
        ("pathway_curve", "lost"),
        ("trials", "one bit"),
        ("effects", "lost"),
        ("findings", "one bit"),
        ("tokens", "cut short"),
        ("screening", "one bit"),
        ("ranking", "lost"),
    ],
)
def test_a_damaged_part_is_named_and_repaired_with_the_same_bytes(
    copy: Whole, kind: str, damage: str
) -> None:
    summary.write(copy.plan)
    before = parquet_bytes(copy.store)
    stamps = {p: (copy.store.path / p).stat().st_mtime_ns for p in before if "parts/" in p}
    ref = max(copy.store.refs(kind), key=lambda r: r.key)
    path = copy.store.path / ref.path
    good = path.read_bytes()
    if damage == "lost":
        path.unlink()
    elif damage == "one bit":
        path.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    else:
        path.write_bytes(good[:-7])
    damaged = fresh(copy, copy.store.path)
    with pytest.raises(Incomplete) as refused:
        summary.write(damaged.plan)
    told = json.loads((damaged.store.path / "summary.json").read_text())
    assert not told["complete"]
    assert any(ref.key in p or ref.path in p for p in told["problems"]), told["problems"]
    assert "finished parts are not computed twice" in str(refused.value)
    assert kind in str(told["problems"])
    run_everything(damaged.plan, damaged.context)
    assert summary.write(damaged.plan)["complete"]
    assert parquet_bytes(damaged.store) == before
    redone = {p for p, at in stamps.items() if (copy.store.path / p).stat().st_mtime_ns != at}
    assert redone == {ref.path}
