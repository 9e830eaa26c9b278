"""Numbers of the original study that a new study is announced against.

Source: arXiv 2509.22818 and its public code, https://github.com/iamseungpil/llm-addiction
(commits 1073a1a for games and patching, 180ff23 for features).
"""

from typing import NamedTuple

LLAMA = "meta-llama/Llama-3.1-8B"
GEMMA = "google/gemma-2-9b-it"
LLAMA_SCOPE = "llama-scope-lxr-8x"

SELECTION = (0.3, 0.001, 0.05)
"""Smallest |d|, largest p and false discovery rate of the original's selection."""

SIGNIFICANT_FEATURES = dict(
    enumerate(
        [96, 108, 167, 213, 260, 322, 396, 442, 427, 486, 505, 497, 627, 715, 570, 547]
        + [521, 493, 463, 411, 406, 451, 482, 464, 441, 529, 451, 541, 559, 540, 304],
        start=1,
    )
)
"""Llama Scope features per layer of LLaMA-3.1-8B that passed ``SELECTION`` (Welch's t, global
Benjamini-Hochberg), found at the outputs of the blocks in 6,400 games."""


class PlayedGames(NamedTuple):
    """How a model played: share of bankruptcies (fixed, variable) and mean rounds per game."""

    bankrupt_fixed: float
    bankrupt_variable: float
    rounds_fixed: float
    rounds_variable: float


PLAYED = {
    LLAMA: PlayedGames(0.02625, 0.0675, 1.19, 1.17),
    GEMMA: PlayedGames(0.1281, 0.2906, 2.69, 3.30),
}
"""Exp0 with 64 conditions and 50 repetitions, read by the original's keyword reader."""

LONGEST_REASONING = 432
"""Tokens of the longest reasoning seen from Gemma-2-9b-it; the average was about 220."""
