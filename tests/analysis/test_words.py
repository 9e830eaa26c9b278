"""Words that were planted stand out; length, prompts and rare words do not."""

import numpy as np
import pandas as pd
import pytest

from pitboss.analysis.words import compare_words, log_odds, tokenise
from pitboss.errors import BadInput
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of

COMMON = ["the", "bet", "balance", "round", "game", "win", "money", "choose"]


def responses(seed: int, n: int, length: int, extra: dict[str, float]) -> list[str]:
    random = np.random.default_rng(seed)
    names = [*COMMON, *extra]
    weight = np.array([1.0] * len(COMMON) + list(extra.values()))
    return [" ".join(random.choice(names, length, p=weight / weight.sum())) for _ in range(n)]


def frame(safe: list[str], risky: list[str], prompt: str = "exp2/safe") -> pd.DataFrame:
    arms = ["safe"] * len(safe) + ["risky"] * len(risky)
    return pd.DataFrame({"model": "m", "prompt": prompt, "arm": arms, "response": safe + risky})


def test_words_are_lower_cased_letters_of_any_script() -> None:
    assert tokenise("I won't bet $10, STOP! I’ll stop. 승률: 30%") == [
        "won't", "bet", "stop", "ll", "stop", "승률",
    ]  # fmt: skip


def test_log_odds_are_those_of_the_formula_written_out() -> None:
    a, b, prior = [10, 3, 87], [2, 5, 193], [0.12, 0.08, 2.8]
    result = log_odds(a, b, prior)
    for i in range(3):
        n_a, n_b, alpha = sum(a), sum(b), sum(prior)
        odds_a = (a[i] + prior[i]) / (n_a + alpha - a[i] - prior[i])
        odds_b = (b[i] + prior[i]) / (n_b + alpha - b[i] - prior[i])
        delta = np.log(odds_a) - np.log(odds_b)
        spread = np.sqrt(1 / (a[i] + prior[i]) + 1 / (b[i] + prior[i]))
        assert result.delta[i] == pytest.approx(delta) and result.z[i] == pytest.approx(
            delta / spread
        )
    swapped = log_odds(b, a, prior)
    np.testing.assert_allclose(swapped.z, -result.z)
    with pytest.raises(BadInput, match="positive prior"):
        log_odds(a, b, [0.1, 0, 0.1])


def test_planted_words_are_found_though_one_arm_writes_four_times_as_much() -> None:
    safe = responses(1, 40, 15, {"careful": 0.6, "chase": 0.05})
    risky = responses(2, 40, 60, {"careful": 0.05, "chase": 0.6})
    table = compare_words(frame(safe, risky)).set_index("word")
    assert set(table.index[table["q"] <= 0.05]) == {"careful", "chase"}
    assert table.loc["careful", "log_odds"] > 0 > table.loc["chase", "log_odds"]
    count = sum(text.split().count("careful") for text in safe)
    assert table.loc["careful", "rate_safe"] == pytest.approx(1000 * count / (40 * 15))
    assert table.loc["careful", "responses_safe"] == sum("careful" in t.split() for t in safe)
    conform(kind_of("words"), table_of("words", table.reset_index()))


def test_the_same_words_in_both_arms_give_nothing() -> None:
    found = 0
    for seed in range(30):
        texts = responses(seed, 40, 20, {"stop": 0.5})
        found += bool((compare_words(frame(texts[:20], texts[20:]))["q"] <= 0.05).any())
    assert found <= 5


def test_prompts_are_not_mixed() -> None:
    """Every prompt has its own words; the arms differ in none of them."""
    one = frame(responses(1, 30, 20, {"alpha": 3}), responses(2, 10, 20, {"alpha": 3}))
    two = frame(responses(3, 10, 20, {"beta": 3}), responses(4, 30, 20, {"beta": 3}), "exp2/risky")
    table = compare_words(pd.concat([one, two]))
    assert not (table["q"] <= 0.05).any()
    assert set(table.loc[table["prompt"] == "exp2/safe", "word"]) == {*COMMON, "alpha"}


def test_rare_words_are_left_out_but_stay_in_the_totals() -> None:
    safe, risky = ["bet bet bet rare", "bet stop"], ["bet stop stop stop", "stop"]
    table = compare_words(frame(safe, risky), min_count=4).set_index("word")
    assert list(table.index) == ["bet", "stop"]
    assert table.loc["bet", "rate_safe"] == pytest.approx(1000 * 4 / 6)


def test_prompts_without_words_have_no_rows_and_strange_input_is_refused() -> None:
    assert compare_words(frame(["1", "2"], ["1", "$10"])).empty
    assert compare_words(frame([], ["bet stop"] * 9)).empty
    with pytest.raises(BadInput, match="positive, not 0"):
        compare_words(frame(["a"], ["b"]), prior=0)
    mixed = pd.concat([frame(["a"], ["b"]), frame(["a"], ["b"]).assign(model="n")])
    with pytest.raises(BadInput, match="several models"):
        compare_words(mixed)


def test_a_phrase_that_is_repeated_within_responses_is_counted_once_a_response() -> None:
    """Both arms repeat themselves alike; occurrences are no independent draws, responses are."""
    of_words, of_responses = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        phrases = [
            "my luck turns " if rng.random() < 0.4 else "the money stays " for _ in range(60)
        ]
        said = [phrase * 5 for phrase in phrases]
        table = compare_words(frame(said[:30], said[30:])).set_index("word")
        assert table.loc["luck", ["n_safe", "n_risky"]].tolist() == [30, 30]
        assert table.loc["luck", "responses_safe"] == sum("luck" in text for text in said[:30])
        of_words.append(table.loc["luck", "p"] <= 0.05)
        of_responses.append(table.loc["luck", "p_responses"] <= 0.05)
    assert np.mean(of_words) > 0.2 and np.mean(of_responses) <= 0.1
