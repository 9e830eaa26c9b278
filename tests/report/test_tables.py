"""Tables are short, true to their rows, and say what they leave out."""

import json

import pandas as pd

from pitboss.formats import number
from pitboss.report.tables import (
    artifact_rows,
    leading_features,
    markdown_table,
    outcome_rows,
    screened_rows,
    strongest_effects,
)
from tests.report import samples

MANY = [{"feature": n, "text": "x" * 90} for n in range(3000)]


def test_long_tables_are_cut_and_say_so() -> None:
    text = markdown_table(MANY, rest="effects.parquet")
    kept = text.count("| xxx")
    assert len(text.encode()) <= 90_000 and 500 < kept < 3000
    assert f"_{3000 - kept:,} of 3,000 rows are left out here; all rows are in `effects.pa" in text
    rows = artifact_rows(MANY, rest="effects.parquet")
    assert len(json.dumps(rows).encode()) < 100_000
    assert rows[-1]["feature"].startswith(f"{3001 - len(rows):,} of 3,000 rows are left out")
    assert rows[0] == {"feature": "0", "text": "x" * 90}


def test_short_tables_are_whole_and_cells_cannot_break_them() -> None:
    text = markdown_table([{"a": "one|two\nthree", "b": None}, {"a": 1234567, "b": 1.5e-9}])
    assert text == "| a | b |\n| --- | --- |\n| one\\|two three |  |\n| 1,234,567 | 1.5e-09 |\n"
    assert markdown_table([]) == "_No rows._\n" and artifact_rows([]) == []
    assert [number(v) for v in (True, 0.0, float("nan"), 12345.678, 0.25)] == [
        "yes", "0", "", "12,345.7", "0.25",
    ]  # fmt: skip


def test_the_strongest_effects_come_first_with_counts_that_add_up() -> None:
    effects = samples.effect_table(20)
    rows = strongest_effects(effects, 30)
    assert len(rows) == 30 and [r["p"] for r in rows] == sorted(r["p"] for r in rows)
    first = rows[0]
    assert (first["layer"], first["feature"]) in samples.PLANTED and first["causal"] == "yes"
    found = effects[
        (effects["layer"] == first["layer"])
        & (effects["feature"] == first["feature"])
        & (effects["prompt"] == first["prompt"])
        & (effects["contrast"] == "safe_vs_risky")
        & (effects["outcome"] == "stop")
    ].iloc[0]
    assert first["stop, safe value"] == f"{found['events_a']:.0f}/{found['n_a']}"
    assert first["Δ stop"].startswith(f"{found['difference']:+.0%} [")


def test_outcomes_count_what_is_there() -> None:
    outcomes = samples.outcomes(10)
    rows = outcome_rows(outcomes)
    assert [r["bets"] for r in rows] == ["fixed", "variable"]
    assert sum(r["games"] for r in rows) == 640 and {r["conditions"] for r in rows} == {32}
    bankrupt = outcomes.loc[outcomes["bet_type"] == "variable", "bankruptcy"].sum()
    assert rows[1]["bankruptcy"].startswith(f"{bankrupt} (")


def test_the_leading_features_are_in_the_rankings_order_with_signs() -> None:
    ranking = samples.ranking(40)
    rows = leading_features(ranking, 7)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    first = ranking.iloc[0]
    assert rows[0]["safe − risky"] == f"{first['contrast']:+.3f}"
    assert rows[0]["shift"] == f"{first['shift']:+.3f}" and rows[0]["in"] == "exp2/safe"
    one_value = ranking.assign(contrast=None, contrast_prompt=None)
    assert leading_features(one_value, 1)[0]["safe − risky"] is None


def test_a_checkpoint_of_a_screening_shows_its_largest_shifts() -> None:
    screened = pd.DataFrame(
        {
            "layer": 3,
            "feature": range(6),
            "prompt": "exp2/safe",
            "value_name": "risky",
            "value": 1.5,
            "own": 0.25,
            "p_stop": 0.4,
            "shift": [0.0, -2.0, 0.5, 1.0, -0.1, 0.2],
        }
    )
    rows = screened_rows(screened, 3)
    assert [row["feature"] for row in rows] == [1, 3, 2]
    assert rows[0] == {
        "layer": 3,
        "feature": 1,
        "prompt": "exp2/safe",
        "value": "risky 1.5",
        "own activation": 0.25,
        "P(stop)": "40.0%",
        "Δ log odds": "-2.000",
    }
