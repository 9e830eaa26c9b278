"""Whatever the files of a study say in words is said in Korean as well, or marked as theirs."""

import inspect
import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import get_args

from pitboss.analysis import effects, interim, original
from pitboss.analysis.declaration import declaration, sentences
from pitboss.analysis.ladder import ladder
from pitboss.analysis.repeats import NewTexts, repetitions
from pitboss.analysis.sequential import Rule
from pitboss.games.outcomes import Outcome
from pitboss.games.reading.reading import Decision, Reason
from pitboss.report.page.phrases import in_korean, told, told_if_known
from pitboss.report.page.strings import HERE, named
from pitboss.report.summary import Expected, summarize
from pitboss.saes import statistics
from pitboss.store import Store, table_of
from tests.report import study
from tests.store.samples import identity, key, parquet_files, store, trial

HANGUL = re.compile("[가-힣]")
WORD = re.compile(r'"([a-z]+(?:_[a-z]+)+)"')


def korean(text: str) -> str:
    """The Korean of a text; fails if there is none, or if some of it stayed English."""
    found = in_korean(text)
    assert found is not None and HANGUL.search(found), text
    assert "{" not in found, found
    return found


def test_every_phrase_says_all_its_parts_in_korean() -> None:
    known = json.loads((HERE / "phrases.json").read_text())
    for english, said in known.items():
        parts = [sorted(re.findall(r"\{(\w+)\}", text)) for text in (english, said)]
        assert parts[0] == parts[1], english
        assert HANGUL.search(said) or said == english, english


def test_reasons_decisions_and_endings() -> None:
    """As the code writes them: literals of the lines that set a reason."""
    reasons = {*get_args(Reason), interim.UNTESTED}
    for module in (effects, statistics):
        for line in inspect.getsource(module).splitlines():
            if line.startswith("    reason[") or line.startswith("    few = ") or "every_" in line:
                reasons |= set(WORD.findall(line.rpartition("] = ")[2]))
    assert len(reasons) > 15
    for name in (*reasons, *get_args(Decision), *Outcome):
        assert not re.search("[a-z]", korean(str(name))), name
    aborted = korean("no decision in 4 responses, the last one out_of_range")
    assert "4" in aborted and korean("out_of_range") in aborted


def test_the_ladders_rules_names_and_notes(tmp_path: Path) -> None:
    made = study.make(tmp_path, layers=2, per_layer=3, controls=2, screened=10)
    runs = made.read("trials", [r.ref.key for r in made.records("trials")]).to_pandas()
    tested = made.read("effects", [r.ref.key for r in made.records("effects")]).to_pandas()
    old = runs.assign(old_decision=runs["decision"], old_amount=runs["amount"])
    early = tested.assign(test="sequential")
    few = old[(old["scene"] != "exp2/risky") | (old["role"] != "baseline")]
    bare = tested[tested["role"] == "feature"]
    for rungs in (
        ladder(old, tested, fdr=0.05, delta="this study's own patches are deltas"),
        ladder(old, early, fdr=0.1, delta=tested),
        ladder(few[few["scene"] == "exp2/safe"], bare, fdr=0.05),
        ladder(few, bare, fdr=0.05),
    ):
        for step in rungs:
            for text in (step.name, step.rule, *filter(None, [step.note])):
                assert not re.search(r"\b(the|not|and|with)\b", korean(text)), text


def test_what_a_study_declares() -> None:
    fixed = declaration(tests=96, trials=20)
    states = declaration(tests=96, trials=2, states=12, baselines=(0.05,))
    rule = Rule(tests=96, looks=(5, 10, 20))
    looked = {
        **fixed,
        "rule": asdict(rule) | {"effect_bound": rule.effect_bound},
        "e_threshold": 200.0,
        "table": [row | {"runs_for_nothing": 8.5, "runs_for_nothing_coupled": 8.0}
                  for row in fixed["table"]],
    }  # fmt: skip
    without = {**looked, "rule": looked["rule"] | asdict(replace(rule, smallest_effect=None))}
    for numbers in (fixed, states, looked, without, {**looked, "states": 12}):
        for text in sentences(numbers):
            assert not re.search(r"\b(the|raise|fall|runs|arm|effect)\b", korean(text)), text


def test_what_the_originals_data_say() -> None:
    row = {"prompt": "exp2/safe", "responses": 3702, "rate": 0.4, "low": 0.1, "high": 0.5,
           "bets_called_stop": 1231}  # fmt: skip
    by_reader = [{"reader": name, "tests": 30, "significant": 0, "responses": 577, "bet": 419,
                  "stop": 158} for name in ("published", "original-exp0", "menu")]  # fmt: skip
    said = original.sentences(
        {
            "choices": [row | {"reader": name} for name in ("published", "menu")],
            "dose": by_reader,
            "truncated": by_reader[1:],
            "signs": {"called_causal": 441, "features": 1366, "with_both_values": 1188,
                      "correlation": 0.936, "above_tenth_against_baseline": 438,
                      "above_tenth_between_values": 187},
        }
    )  # fmt: skip
    assert len(said) == 4
    for text in said:
        numbers = re.findall(r"[\d,.]*\d", text)
        assert sorted(numbers) == sorted(re.findall(r"[\d,.]*\d", korean(text)))


def test_what_is_missing_in_a_study(tmp_path: Path) -> None:
    here = store(tmp_path)
    for number in range(2):
        rows = table_of("trials", [trial(number, row) for row in range(10)])
        here.commit("trials", key(number), rows, identity=identity(number))
    parquet_files(here)[0].write_bytes(b"PAR1")
    parquet_files(here)[1].unlink()
    given = {"keys": [key(n) for n in range(3)], "at_least": {"decision": {"stop": 99}}}
    problems = [
        text
        for name in ("patching", "games llama")
        for text in summarize(Store.open(here.path), [Expected(name, "trials", rows=9, **given)])[
            "problems"
        ]
    ]
    assert len(problems) >= 8
    for text in problems:
        korean(text)
    assert korean(problems[0]).startswith("patching/trials: 부분 3개")
    assert any("그만둠" in korean(text) and "99" in text for text in problems)


def test_warnings_of_repeated_texts() -> None:
    few = {"risky": NewTexts(1000, 100), "": NewTexts(50, 2)}
    arm, games = map(korean, repetitions("confirmation/trials", few))
    assert (
        arm.startswith("confirmation/trials, 조건 ‘위험 값’:") and "1,000" in arm and "10%" in arm
    )
    assert games.startswith("confirmation/trials:") and "draws" not in arm + games


def test_a_text_that_nobody_knows_is_shown_and_marked() -> None:
    assert in_korean("CUDA out of memory") is None
    assert told("<b> out of memory") == '<span class="raw" lang="en">&lt;b&gt; out of memory</span>'
    assert told_if_known("0.05") == "0.05"
    assert 'lang="ko">읽을 수 없음<' in told("unreadable")
    assert "위험 값" in named("arm", "risky") and named("arm", "x0.5") == "x0.5"
