"""Committing, reading back, refusing: what a user of the store sees."""

import json
import logging
import os
import stat
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pitboss.errors import BadInput, Incomplete, Mismatch
from pitboss.store import PartRef, Store, part_key
from tests.store.samples import SETTINGS, commit, identity, key, parquet_files, store, trial, trials


def test_a_committed_part_is_read_back_and_its_reference_survives_json(tmp_path: Path) -> None:
    here = store(tmp_path)
    ref = here.commit(
        "trials", key(1), trials(1), identity=identity(1), facts={"seconds": 1.5, "device": "cpu"}
    )
    assert PartRef.from_dict(json.loads(json.dumps(ref.as_dict()))) == ref
    assert here.has("trials", key(1)) and here.ref("trials", key(1)) == ref
    assert here.read("trials").to_pylist() == trials(1).to_pylist()
    record = here.record("trials", key(1))
    assert record and record.identity == identity(1) and record.facts["seconds"] == 1.5
    assert here.verify() == []


def test_bytes_do_not_depend_on_row_order_facts_or_folder(tmp_path: Path) -> None:
    forward, backward = store(tmp_path / "a"), store(tmp_path / "b")
    rows = trials(1)
    shuffled = rows.take(pa.array(range(rows.num_rows - 1, -1, -1)))
    forward.commit("trials", key(1), rows, identity=identity(1), facts={"seconds": 1})
    backward.commit("trials", key(1), shuffled, identity=identity(1), facts={"seconds": 99})
    [one], [other] = parquet_files(forward), parquet_files(backward)
    assert one.read_bytes() == other.read_bytes()


def test_combined_file_does_not_depend_on_the_cut_into_parts(tmp_path: Path) -> None:
    few, many = store(tmp_path / "few"), store(tmp_path / "many")
    for number in range(6):
        commit(many, number, rows=13)
    joined = many.read("trials")
    few.commit("trials", key(0), joined, identity=identity(0))
    one, other = few.combine("trials", None, "trials"), many.combine("trials", None, "trials")
    assert one.read_bytes() == other.read_bytes()
    assert pd.read_parquet(one).shape[0] == 6 * 13
    assert few.verify() == many.verify() == []


def test_combining_regroups_rows_beyond_one_row_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pitboss.store.parquet.ROW_GROUP", 32)
    here = store(tmp_path)
    for number in range(5):
        commit(here, number, rows=21)
    path = here.combine("trials", None, "trials")
    groups = pa.parquet.read_metadata(path)
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [32, 32, 32, 9]
    assert pa.parquet.read_table(path).to_pylist() == here.read("trials").to_pylist()


def test_committing_again_changes_nothing_and_other_rows_are_refused_by_name(
    tmp_path: Path,
) -> None:
    here = store(tmp_path)
    first = commit(here, 1)
    before = parquet_files(here)[0].stat()
    assert commit(here, 1) == first
    assert parquet_files(here)[0].stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(Mismatch, match=r"n_tokens of row .*00000.*: 5 here, 6 given"):
        commit(here, 1, n_tokens=6)
    with pytest.raises(Mismatch, match="40 rows here, 39 given"):
        commit(here, 1, rows=39)
    assert here.ref("trials", key(1)) == first


@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "record", "record_gone"])
def test_a_damaged_part_counts_as_absent_and_can_be_written_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    here = store(tmp_path)
    ref = commit(here, 1)
    part = here.path / ref.path
    record = here.path / "records" / "trials" / f"{key(1)}.json"
    data = part.read_bytes()
    assert here.has("trials", key(1))
    if damage == "cut":
        part.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        part.write_bytes(data[:50] + bytes([data[50] ^ 1]) + data[51:])
    elif damage == "gone":
        part.unlink()
    elif damage == "record":
        record.write_text('{"kind": "trials"')
    else:
        record.unlink()
    with caplog.at_level(logging.WARNING, "pitboss.store"):
        assert not here.has("trials", key(1))
    assert damage == "record_gone" or "counts as absent" in caplog.text
    assert here.verify() != []
    with pytest.raises(Incomplete, match="1 of 1 parts"):
        here.read("trials", [key(1)])
    assert commit(here, 1) == ref
    assert part.read_bytes() == data and here.verify() == []


def test_coverage_names_what_is_missing_and_what_nobody_expects(tmp_path: Path) -> None:
    here = store(tmp_path)
    commit(here, 1)
    commit(here, 3)
    coverage = here.coverage("trials", [key(1), key(2)])
    assert (coverage.done, coverage.missing, coverage.extra) == ((key(1),), (key(2),), (key(3),))
    assert coverage.expected == 2 and not coverage.complete
    with pytest.raises(Incomplete, match=f"1 of 2 parts .*{key(2)}"):
        coverage.require()


def test_two_parts_with_the_same_row_are_refused_at_reading(tmp_path: Path) -> None:
    here = store(tmp_path)
    commit(here, 1)
    other = {"chunk": 1, "size": 50}
    here.commit("trials", part_key("llama/L01", other), trials(1), identity=other)
    for act in (lambda: here.read("trials"), lambda: here.combine("trials", None, "all")):
        with pytest.raises(BadInput, match="2 rows of kind 'trials' share"):
            act()


def test_a_part_copied_from_another_study_is_refused(tmp_path: Path) -> None:
    here, other = store(tmp_path), store(tmp_path, name="day", seed=8)
    ref = commit(other, 1)
    for name in (ref.path, f"records/trials/{key(1)}.json"):
        target = here.path / name
        target.parent.mkdir(parents=True)
        target.write_bytes((other.path / name).read_bytes())
    with pytest.raises(Mismatch, match="belongs elsewhere: manifest"):
        here.has("trials", key(1))
    assert any("belongs elsewhere" in problem.what for problem in here.verify())


def test_a_key_of_another_identity_and_unsafe_keys_are_refused(tmp_path: Path) -> None:
    here = store(tmp_path)
    with pytest.raises(BadInput, match="was not made from this identity"):
        here.commit("trials", key(1), trials(1), identity={"chunk": 2})
    for slug in ("../out", "/etc/x", "a//b", ".hidden", "a/../b", ""):
        with pytest.raises(BadInput, match="cannot be a part's key"):
            part_key(slug, {})
    with pytest.raises(BadInput, match="belongs to the store itself"):
        here.write_json("records/x.json", {})
    with pytest.raises(BadInput, match="is not text"):
        part_key("a", {"values": {1: "safe"}})
    assert part_key("a", {"x": 1, "y": [2]}) == part_key("a", {"y": [2], "x": 1})
    assert part_key("a", {"x": 1}) != part_key("a", {"x": 2})


def test_only_the_owner_can_read_a_study(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        here = store(tmp_path / "results")
        commit(here, 1)
    finally:
        os.umask(old)
    folders = [here.path, *(p for p in here.path.rglob("*") if p.is_dir())]
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o700}
    assert {stat.S_IMODE(p.stat().st_mode) for p in parquet_files(here)} == {0o600}


def test_json_files_are_replaced_whole_and_refuse_nan(tmp_path: Path) -> None:
    here = store(tmp_path)
    here.write_json("summary.json", {"rows": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        here.write_json("summary.json", {"rate": float("nan")})
    assert here.read_json("summary.json") == {"rows": 1}
    with pytest.raises(BadInput, match="does not exist"):
        here.read_json("other.json")


class TestManifest:
    def test_the_same_settings_open_the_same_folder(self, tmp_path: Path) -> None:
        commit(store(tmp_path), 1)
        assert store(tmp_path).has("trials", key(1))
        assert Store.open(tmp_path / "night").manifest == SETTINGS

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"seed": 8}, "seed: 7 here, 8 asked"),
            (
                {"features": {**SETTINGS["features"], "gate": "relu"}},
                "features.gate: 'sae_lens' here, 'relu' asked",
            ),
            (
                {"features": {**SETTINGS["features"], "layers": [1, 3]}},
                r"features.layers\[1\]: 2 here, 3 asked",
            ),
            ({"model": "x"}, "model: nothing here, 'x' asked"),
            ({"seed": True}, "seed: 7 here, True asked"),
        ],
    )
    def test_other_settings_are_refused_naming_the_field(
        self, tmp_path: Path, changes: dict, said: str
    ) -> None:
        store(tmp_path)
        with pytest.raises(Mismatch, match=said):
            store(tmp_path, **changes)

    def test_a_lost_or_damaged_manifest_is_refused(self, tmp_path: Path) -> None:
        here = store(tmp_path)
        commit(here, 1)
        (here.path / "manifest.json").write_text("{")
        with pytest.raises(BadInput, match="not JSON"):
            store(tmp_path)
        (here.path / "manifest.json").unlink()
        with pytest.raises(Mismatch, match="no manifest"):
            store(tmp_path)
        with pytest.raises(BadInput, match="does not exist"):
            Store.open(here.path)

    @pytest.mark.parametrize("name", [None, "", "..", "a/b", 3])
    def test_a_study_needs_a_name_that_can_be_a_folder(self, tmp_path: Path, name: object) -> None:
        with pytest.raises(BadInput):
            store(tmp_path, name=name)

    def test_values_that_are_not_json_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(BadInput, match="not JSON"):
            store(tmp_path, seed=float("nan"))


def test_rows_are_checked_before_anything_is_written(tmp_path: Path) -> None:
    here = store(tmp_path)
    good = trial(1, 0)

    def attempt(*rows: dict, drop: str | None = None) -> None:
        table = pa.Table.from_pylist([dict(r) for r in rows])
        if drop:
            table = table.drop_columns([drop])
        here.commit("trials", key(1), table, identity=identity(1))

    cases = [
        ("missing .'arm'.", lambda: attempt(good, drop="arm")),
        ("unknown .'extra'.", lambda: attempt({**good, "extra": 1})),
        ("values are null", lambda: attempt({**good, "response": None}, trial(1, 1))),
        ("NaN or infinite", lambda: attempt({**good, "value": float("nan")})),
        ("do not fit int16", lambda: attempt({**good, "layer": 1 << 20})),
        ("do not fit int32", lambda: attempt({**good, "n_tokens": 1.5})),
        ("2 rows of kind 'trials' share", lambda: attempt(good, good)),
    ]
    for said, act in cases:
        with pytest.raises(BadInput, match=said):
            act()
    assert parquet_files(here) == [] and list((here.path / "tmp").iterdir()) == []
