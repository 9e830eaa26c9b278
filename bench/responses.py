"""How long real responses are: what a run costs depends on it.

**Exp2.** `data/original/llama31_8b_choice_trials.jsonl.gz` holds 7,482 real responses of
LLaMA-3.1-8B to the two scenes. For each, the study's own reader is asked after every token whether
anything could still change the decision. No tokenizer is needed for that: the text is split as
Llama 3 splits it before its byte-pair merges (words with the space before them, up to three digits,
runs of punctuation, line breaks), which is one token a piece for text as plain as this, and never
more pieces than tokens.

**Exp0.** The games' free-text answers are not kept by the original. Its own record of another run
with a limit of 1,024 tokens says: about 60 % exceed 100 tokens, 15 to 17 % exceed 250, the
longest has 432 (`token_truncation_root_cause_analysis.md` at 49d00dc of
https://github.com/iamseungpil/llm-addiction). `REASONING` joins these points by
straight lines.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bench.machine import ROOT
from pitboss.games.prompts import render
from pitboss.games.reading import reader

TRIALS = ROOT / "data" / "original" / "llama31_8b_choice_trials.jsonl.gz"

# Llama 3's pre-tokenizer (its tokenizer.json), in the words of `re`: letters are \\w without digits
# and underscores.
_PIECE = re.compile(
    r"'(?:[sdmt]|ll|ve|re)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d{1,3}| ?(?:[^\s\w]|_)+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
    re.IGNORECASE,
)

REASONING = ((0.0, 10), (0.4, 100), (0.84, 250), (1.0, 432))
"""Quantiles of the tokens of an answer to the Exp0 prompt: (share of answers, at most so many)."""

ROUNDS = 61_895 / 6_400
"""Mean rounds of a game: 61,895 recorded decisions of 2 models x 3,200 games of the original's
later version, whose players bet on (`multilayer_causal/README.md` at 074ab47). Its first version
read most answers as a stop and had 1.2 rounds a game with LLaMA and 3 with Gemma."""


def pieces(text: str) -> list[str]:
    """The text in pieces, about one a token; joined they are the text."""
    return _PIECE.findall(text)


@cache
def decided_after(path: Path = TRIALS) -> Mapping[str, Counter[int]]:
    """Scene → (tokens after which the decision of a real response was certain → responses).

    A response that never makes it certain counts with all its tokens.
    """
    read = reader("menu")
    found: dict[str, Counter[int]] = {}
    with gzip.open(path, "rt") as lines:
        for line in lines:
            trial = json.loads(line)
            menu = render(f"exp2/{trial['prompt_type']}").menu
            text, n = "", 0
            for n, piece in enumerate(pieces(trial["response"]), start=1):  # noqa: B007
                text += piece
                if read.decided(text, menu):
                    break
            found.setdefault(trial["prompt_type"], Counter())[max(n, 1)] += 1
    return found


def quantile(counts: Mapping[int, int], share: float) -> int:
    """The smallest value that at least this share (0 to 1) of the counted do not exceed."""
    wanted, seen = share * sum(counts.values()), 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return max(counts)


def reasoning_tokens(share: float) -> int:
    """Tokens of the answer at this quantile (0 to 1) of `REASONING`."""
    for (a, low), (b, high) in zip(REASONING, REASONING[1:], strict=False):
        if share <= b:
            return round(low + (high - low) * (share - a) / (b - a))
    return REASONING[-1][1]


def spread(i: int) -> float:
    """The i-th of a sequence that fills 0 to 1 evenly however many are taken (golden ratio)."""
    return (i + 1) * 0.6180339887498949 % 1.0
