"""New texts among draws of one prompt, where their number is known."""

import pandas as pd
import pytest

from pitboss.analysis.repeats import NewTexts, new_texts, repetitions, text_digests


def draws(
    texts: list[str], arm: str = "safe", prompt: str = "p", **changes: object
) -> pd.DataFrame:
    frame = pd.DataFrame({"response": texts, "n_tokens": 20, "arm": arm, "prompt_sha256": prompt})
    named = {"phase": "discovery", "role": "feature", "layer": 1, "feature": 7}
    return frame.assign(**{**named, **changes})


def count(*frames: pd.DataFrame, kind: str = "trials") -> dict[str, NewTexts]:
    return new_texts(text_digests(frame, kind) for frame in frames)


def test_the_same_text_every_time_is_one_draw() -> None:
    same, other = draws(["a"] * 30), draws([f"{n}" for n in range(30)], arm="risky")
    found = count(pd.concat([same, other]))
    assert found == {"safe": (29, 0), "risky": (29, 29)}
    assert (found["safe"].share, found["risky"].share) == (0, 1)
    [sentence] = repetitions("patching/trials", found)
    assert "arm safe: of 29 draws" in sentence and "0 (0%) are new texts" in sentence


def test_equal_texts_of_other_prompts_features_or_arms_are_no_repetition() -> None:
    apart = [draws(["a"], prompt="q"), draws(["a"], feature=8), draws(["a"], role="random_feature")]
    assert count(draws(["a"]), *apart, draws(["a"], arm="risky")) == {
        "safe": (0, 0),
        "risky": (0, 0),
    }
    assert NewTexts(0, 0).share is None


def test_draws_are_counted_over_parts() -> None:
    assert count(draws(["a", "b"]), draws(["b", "c"])) == {"safe": (3, 2)}


def test_responses_too_short_to_differ_are_left_out() -> None:
    assert count(draws(["1"] * 40, n_tokens=1)) == {}
    assert repetitions("x", count(draws(["1"] * 40, n_tokens=1))) == []


def test_games_are_drawn_again_where_their_prompt_is_the_same_and_so_is_their_arm() -> None:
    games = [f"llama/persistent/{arm}/variable/BASE/{n:03d}" for arm in "ab" for n in range(3)]
    frame = pd.DataFrame(
        {"game": games, "prompt_sha256": "p", "response": list("xxyxxy"), "n_tokens": 9}
    )
    assert count(frame, kind="decisions") == {"": (4, 2)}


@pytest.mark.parametrize(
    ("repeats", "new", "few"), [(19, 0, False), (20, 9, True), (20, 10, False)]
)
def test_fewer_than_half_new_texts_are_few(repeats: int, new: int, few: bool) -> None:
    assert NewTexts(repeats, new).few is few
