"""What the original concluded from its own data, computed anew and by hand."""

import json

import pandas as pd
import pytest

from pitboss.analysis import original
from pitboss.errors import BadInput


def test_the_rates_are_those_of_the_files_labels_and_first_characters() -> None:
    frame, rows = original.choices(), original.stop_rates()
    by = {(row["prompt"], row["reader"]): row for row in rows}
    for scene in ("safe", "risky"):
        mine = frame[frame["prompt_type"] == scene]
        first = mine["response"].str[0]
        published, ours = by[f"exp2/{scene}", "published"], by[f"exp2/{scene}", "menu"]
        assert published["rate"] == (mine["published"] == "stop").mean()
        assert ours["stops"] == (first == "2").sum()
        assert ours["decided"] == first.isin(["1", "2"]).sum()
        called = ((mine["published"] == "stop") & (first == "1")).sum()
        assert published["bets_called_stop"] == called > 1000
        assert ours["made_up"] == ours["bets_called_stop"] == 0
        assert ours["low"] < ours["rate"] < ours["high"] < published["low"]
        # The pilot's reader is the one that wrote the labels.
        pilot = by[f"exp2/{scene}", "original-exp2-pilot"]
        assert {**pilot, "reader": ""} == {**published, "reader": ""}


def test_the_sign_rule_gives_the_published_441_and_two_values_that_act_alike() -> None:
    found = original.signs()
    assert (found["called_safe"], found["called_risky"], found["called_causal"]) == (361, 80, 441)
    assert found["as_published"]
    frame = pd.read_csv(original.DATA / original.DIFFERENCES).dropna()
    rows = frame[["safe_stop_delta", "risky_stop_delta"]]
    assert found["with_both_values"] == len(rows) == 1188
    assert found["correlation"] == pytest.approx(rows.corr(method="pearson").iloc[0, 1])
    assert found["correlation"] > 0.9


def test_cut_off_answers_become_decisions_only_in_the_old_readers() -> None:
    for row in original.truncated():
        assert row["bet"] + row["stop"] + row["none"] == row["responses"] == 577
        assert (row["none"] == 577) == (row["reader"] == "menu")


def test_the_doses_ends_are_compared_in_every_feature_and_scene() -> None:
    rows = original.dose()
    assert {row["tests"] for row in rows} == {30}
    assert all(row["significant"] <= row["p_below_05"] <= row["testable"] for row in rows)


def test_the_document_is_plain_and_its_sentences_say_its_numbers() -> None:
    found = original.original_study()
    assert json.loads(json.dumps(found)) == found
    said = " ".join(found["sentences"])
    assert "call 40.7% of 3,702 responses a stop, the responses say 7.4%" in said
    assert "441 of 1,366 features" in said


def test_missing_data_are_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(original, "DATA", tmp_path)
    with pytest.raises(BadInput, match="original study's data are not there"):
        original.signs()
