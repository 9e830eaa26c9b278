"""The summary counts what the store holds, and anything missing fails after it is written."""

from pathlib import Path

import pytest

from pitboss.errors import Incomplete
from pitboss.report.summary import Expected, summarize, summary_rows, write_summary
from pitboss.store import Store, table_of
from tests.store.samples import commit, identity, key, parquet_files, store, trial


def filled(root: Path) -> Store:
    here = store(root)
    for number in range(3):
        rows = [
            trial(number, row, **({"decision": "none", "reason": "empty"} if row < 2 else {}))
            for row in range(10)
        ]
        facts = {"seconds": 4.0, "started": 100.0 + number, "finished": 104.0 + number}
        table = table_of("trials", rows)
        here.commit("trials", key(number), table, identity=identity(number), facts=facts)
    return here


def expected(**changes) -> Expected:
    given = {"keys": [key(n) for n in range(3)], "rows": 30, **changes}
    return Expected("patching", "trials", **given)


def test_a_complete_study_says_counts_times_and_valid_responses(tmp_path: Path) -> None:
    here = filled(tmp_path)
    path = write_summary(here, [expected()], extra={"device": "cpu"})
    summary = here.read_json(path.name)
    assert summary["complete"] and summary["problems"] == [] and summary["device"] == "cpu"
    found = summary["experiments"]["patching"]
    step = found["steps"]["trials"]
    assert step["rows"] == {"expected": 30, "actual": 30}
    assert step["parts"] == {"expected": 3, "actual": 3}
    assert step["valid_responses"] == {
        "valid": 24, "responses": 30, "rate": 0.8, "reasons": {"empty": 6}, "cut_off": 0,
    }  # fmt: skip
    # Three parts of 4 s, two workers side by side: from 100 to 106.
    assert (found["worker_seconds"], found["wall_seconds"]) == (12.0, 6.0)
    assert found["rows_per_second"] == 5.0
    [row] = summary_rows(summary)
    assert row["valid responses"] == "80.0%" and row["parts"] == "3/3" and row["wall"] == "6 s"
    assert row["cut off"] == "0.0%"


def test_draws_that_repeat_one_text_are_counted_by_arm_and_warned_of(tmp_path: Path) -> None:
    here = store(tmp_path)
    same = {"feature": 1, "n_tokens": 20}
    rows = [trial(0, row, **same, response="Twice the same.") for row in range(21)]
    rows += [trial(0, row, **same, arm="risky") for row in range(21, 42)]
    rows += [trial(0, row, feature=1, arm="baseline", response="1") for row in range(42, 82)]
    here.commit("trials", key(0), table_of("trials", rows), identity=identity(0))
    summary = summarize(here, [expected(keys=[key(0)], rows=82)])
    assert summary["complete"] and summary["problems"] == []
    step = summary["experiments"]["patching"]["steps"]["trials"]
    assert step["new_texts"] == {
        "risky": {"repeats": 20, "new": 20, "share": 1.0},
        "safe": {"repeats": 20, "new": 0, "share": 0.0},
    }
    [warning] = summary["warnings"]
    assert warning.startswith("patching/trials, arm safe: of 20 draws")
    assert summary_rows(summary)[0]["new texts"] == "50.0%"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 31}, "patching/trials: 30 rows, expected 31"),
        ({"rows": 29}, "patching/trials: 30 rows, expected 29"),
        (
            {"keys": [key(n) for n in range(4)]},
            "3 of 4 parts are finished, first missing llama/L03",
        ),
        ({"at_least": {"decision": {"stop": 1}}}, "0 of 1 with decision stop"),
    ],
)
def test_any_mismatch_fails_after_the_summary_is_written(
    tmp_path: Path, changes: dict, said: str
) -> None:
    here = filled(tmp_path)
    with pytest.raises(Incomplete, match=said):
        write_summary(here, [expected(**changes)])
    summary = here.read_json("summary.json")
    assert not summary["complete"] and said.split("first")[0] in summary["problems"][0]


def test_a_damaged_part_is_missing_and_named(tmp_path: Path) -> None:
    here = filled(tmp_path)
    parquet_files(here)[0].write_bytes(b"PAR1")
    summary = summarize(Store.open(here.path), [expected()])
    assert len(summary["problems"]) == 3
    assert "2 of 3 parts" in summary["problems"][0]
    assert "has 4 bytes" in summary["problems"][2]


def test_a_quota_that_ended_at_its_cap_is_a_shortfall_not_a_failure(tmp_path: Path) -> None:
    here = filled(tmp_path)
    quota = {"decision": {"stop": 25, "bet": 24}}
    summary = summarize(here, [expected(at_least=quota, rows=None, shortfall_allowed=True)])
    assert summary["complete"]
    assert summary["shortfalls"] == ["patching/trials: 0 of 25 with decision stop."]
    step = summary["experiments"]["patching"]["steps"]["trials"]
    assert step["counts"] == {"decision": {"stop": 0, "bet": 24}}
    assert summary_rows(summary)[0]["expected"] == "not fixed"


def test_leftovers_of_an_interrupted_writer_are_no_problem(tmp_path: Path) -> None:
    here = filled(tmp_path)
    (here.path / "tmp" / "00ff.tmp").write_bytes(b"half")
    (here.path / "parts" / "trials" / "orphan.parquet").write_bytes(b"half")
    assert [p.harmless for p in here.verify()] == [True, True]
    assert summarize(here, [expected()])["complete"]


def test_nothing_at_all_is_incomplete_and_divides_by_nothing(tmp_path: Path) -> None:
    here = store(tmp_path)
    summary = summarize(here, [expected()])
    assert not summary["complete"]
    found = summary["experiments"]["patching"]
    assert found["rows"] == 0 and found["rows_per_second"] is None
    assert found["valid_responses"] is None
    commit(here, 0)
    assert summarize(here, [expected()])["experiments"]["patching"]["rows"] == 40
