"""How many draws of the same prompt are new texts, and how many only repeat one.

Trials are replications as far as they are drawn apart: a sampler without noise, or a model that is
certain of every word, gives one text as often as it is asked.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

LONG = 8
"""Tokens from which on a response is a text that two draws rarely share; `1` is no such text."""

FEW_NEW = 0.5
"""Share of new texts below which draws of one prompt are repetitions rather than replications."""

_ENOUGH = 20  # repeated draws from which on that share is told


class NewTexts(NamedTuple):
    """Draws of prompts that had been drawn before in the same arm, and how many are new texts."""

    repeats: int
    new: int

    @property
    def share(self) -> float | None:
        """1 where all draws differ, 0 where they are all the same text."""
        return self.new / self.repeats if self.repeats else None

    @property
    def few(self) -> bool:
        """Whether the draws are so much alike that their number means little."""
        return self.repeats >= _ENOUGH and self.new < FEW_NEW * self.repeats

    def as_dict(self) -> dict[str, Any]:
        """As summary.json has it."""
        return {"repeats": self.repeats, "new": self.new, "share": self.share}


_ARM = {
    "trials": ["phase", "role", "arm", "layer", "feature", "prompt_sha256"],
    "decisions": ["game", "prompt_sha256"],
}


def text_columns(kind: str) -> list[str]:
    """Columns that `text_digests` needs of a kind of responses."""
    return [*_ARM[kind], "response", "n_tokens"]


def text_digests(responses: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The long responses as two numbers each, so that those of a large study fit into memory.

    Args:
        responses: The kind's `text_columns`.

    Returns:
        Columns arm (name of the arm; empty for games), drawn (digest of the arm and prompt that
        it is a draw of) and text (digest of the text).
    """
    long = responses[responses["n_tokens"] >= LONG]
    of = long[_ARM[kind]]
    if kind == "decisions":  # a game is called model/.../condition/repetition; its arm is in front
        of = of.assign(game=of["game"].str.rsplit("/", n=3).str[0])
    return pd.DataFrame(
        {
            "arm": long["arm"] if kind == "trials" else "",
            "drawn": pd.util.hash_pandas_object(of, index=False),
            "text": pd.util.hash_pandas_object(long["response"], index=False),
        }
    )


def new_texts(digests: Iterable[pd.DataFrame]) -> dict[str, NewTexts]:
    """Count new texts among the draws of the same prompt in the same arm, by the arm's name."""
    parts = list(digests)
    if not parts:
        return {}
    every = pd.concat(parts, ignore_index=True)
    drawn = every.groupby(["arm", "drawn"])["text"].agg(["size", "nunique"]) - 1
    sums = drawn.groupby("arm").sum()
    counts = sums[["size", "nunique"]].itertuples(name=None)
    return {str(arm): NewTexts(int(repeats), int(new)) for arm, repeats, new in counts}


def repetitions(name: str, texts: Mapping[str, NewTexts]) -> list[str]:
    """What a reader has to know: a sentence for each arm whose draws mostly repeat themselves."""
    return [
        f"{name}{f', arm {arm}' if arm else ''}: of {draws.repeats:,} draws of a prompt that was "
        f"drawn before, {draws.new:,} ({draws.new / draws.repeats:.0%}) are new texts, fewer than "
        f"{FEW_NEW:.0%}; the others repeat one, so the runs say less than their number."
        for arm, draws in texts.items()
        if draws.few
    ]
