"""Which words go with the safe value and which with the risky one.

Per prompt, because prompts differ in their words; as rates, because arms differ in length; with the
log-odds ratio with an informative Dirichlet prior of Monroe, Colaresi and Quinn (2008, Political
Analysis 16, 372-403), which keeps rare words from looking decisive.

Their z takes words as independent draws; words of one response are not: a sentence that a model
likes to say brings all its words at once, again and again. So z ranks words, and what tests them is
the number of responses with the word, by Fisher's exact test: responses are independent draws.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from pitboss.analysis.proportions import fisher_p
from pitboss.errors import BadInput
from pitboss.saes.false_discovery import benjamini_hochberg

Floats = NDArray[np.float64]
ARMS = ("safe", "risky")

_COLUMNS = (
    *("prompt", "word", "count_safe", "count_risky", "rate_safe", "rate_risky"),
    *("responses_safe", "responses_risky", "n_safe", "n_risky", "log_odds", "z", "p", "q"),
    *("p_responses", "q_responses"),
)
_WORD = re.compile(r"[^\W\d_]{2,}(?:['\u2019][^\W\d_]+)?")


class LogOdds(NamedTuple):
    """Log-odds ratio of each word, a over b, and its z score."""

    delta: Floats
    z: Floats


def tokenise(text: str) -> list[str]:
    """Lower-cased words of two letters or more, in any script; numbers are no words."""
    return [word.replace("\u2019", "'") for word in _WORD.findall(text.lower())]


def log_odds(counts_a: ArrayLike, counts_b: ArrayLike, prior: ArrayLike) -> LogOdds:
    """Log-odds ratio with an informative Dirichlet prior (Monroe et al., equations 16 and 19-22).

    Args:
        counts_a: [w] occurrences of each word in corpus a.
        counts_b: [w] the same in corpus b.
        prior: [w] pseudo-counts, positive, with the words' frequencies of a background corpus.

    Raises:
        BadInput: A pseudo-count is not positive.
    """
    a, b, alpha = (np.asarray(x, np.float64) for x in (counts_a, counts_b, prior))
    if not (alpha > 0).all():
        raise BadInput("Each word needs a positive prior count.")
    n_a, n_b, alpha_0 = a.sum(), b.sum(), alpha.sum()
    odds_a = np.log(a + alpha) - np.log(n_a + alpha_0 - a - alpha)
    odds_b = np.log(b + alpha) - np.log(n_b + alpha_0 - b - alpha)
    delta = odds_a - odds_b
    return LogOdds(delta, delta / np.sqrt(1 / (a + alpha) + 1 / (b + alpha)))


def compare_words(
    trials: pd.DataFrame, *, scope: str = "all", prior: float = 0.01, min_count: int = 5
) -> pd.DataFrame:
    """Compares the words of safe-value and risky-value responses in each prompt.

    Args:
        trials: Columns model, prompt (the stratum), arm, response. Baseline responses only inform
            the prior.
        scope: What the trials are of: "all", or a feature such as "L3/F12".
        prior: Weight of the background corpus (all arms of the prompt) as a share of its size.
        min_count: Occurrences in both arms together that a word needs to be compared.

    Returns:
        One row a prompt and word with the columns of the store's kind `words`. A prompt in which
        fewer than two words are that frequent, or an arm has no words, has no rows.

    Raises:
        BadInput: Several models, or a prior that is not positive.
    """
    models = trials["model"].unique()
    if len(models) != 1:
        raise BadInput(f"The trials are of several models: {sorted(models)}.")
    if prior <= 0:
        raise BadInput(f"The prior's weight must be positive, not {prior}.")
    frames = [
        _prompt(rows, str(prompt), prior, min_count) for prompt, rows in trials.groupby("prompt")
    ]
    found = [frame for frame in frames if frame is not None]
    if not found:
        return pd.DataFrame(columns=["model", "scope", *_COLUMNS])
    frame = pd.concat(found, ignore_index=True)
    frame.insert(0, "model", models[0])
    frame.insert(1, "scope", scope)
    return frame


def _prompt(rows: pd.DataFrame, prompt: str, prior: float, min_count: int) -> pd.DataFrame | None:
    words = {arm: _counted(rows.loc[rows["arm"] == arm, "response"]) for arm in ARMS}
    background, _ = _counted(rows["response"])
    (safe, safe_in), (risky, risky_in) = words["safe"], words["risky"]
    names = sorted(w for w in {*safe, *risky} if safe[w] + risky[w] >= min_count)
    if len(names) < 2 or not safe or not risky:
        return None
    count_safe, count_risky = _vector(safe, names), _vector(risky, names)
    # Words below min_count stay in the totals as one more word, so that rates are of all words.
    rest = (safe.total() - count_safe.sum(), risky.total() - count_risky.sum())
    base = _vector(background, names)
    odds = log_odds(
        np.append(count_safe, rest[0]),
        np.append(count_risky, rest[1]),
        prior * np.append(base, max(background.total() - base.sum(), 1)),
    )
    delta, z = odds.delta[:-1], odds.z[:-1]
    p = 2 * special.ndtr(-np.abs(z))
    n = {arm: np.full(len(names), (rows["arm"] == arm).sum()) for arm in ARMS}
    with_safe, with_risky = _vector(safe_in, names), _vector(risky_in, names)
    p_responses = fisher_p(with_safe, n["safe"], with_risky, n["risky"])
    return pd.DataFrame(
        {
            "prompt": prompt,
            "word": pd.Series(names, dtype=object),
            "count_safe": count_safe,
            "count_risky": count_risky,
            "rate_safe": 1000 * count_safe / safe.total(),
            "rate_risky": 1000 * count_risky / risky.total(),
            "responses_safe": with_safe,
            "responses_risky": with_risky,
            "n_safe": n["safe"],
            "n_risky": n["risky"],
            "log_odds": delta,
            "z": z,
            "p": p,
            "q": benjamini_hochberg(p),
            "p_responses": p_responses,
            "q_responses": benjamini_hochberg(p_responses),
        }
    )


def _counted(responses: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Occurrences of each word, and responses with the word."""
    occurrences: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for response in responses:
        words = tokenise(response)
        occurrences.update(words)
        within.update(set(words))
    return occurrences, within


def _vector(counter: Counter[str], names: list[str]) -> NDArray[np.int64]:
    return np.array([counter[name] for name in names], np.int64)
