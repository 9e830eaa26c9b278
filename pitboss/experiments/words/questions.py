"""What a language model is asked about a causal feature: its top tokens and contexts are shown."""

from typing import TYPE_CHECKING

from pitboss.experiments.words.settings import Describe

if TYPE_CHECKING:
    import pandas as pd

ASKED = 1
"""Version of the question; raised when a letter changes."""

Name = tuple[int, int]

_SHOWN = 160  # characters before and behind the token


def questions(
    settings: Describe, features: list[Name], tokens: "pd.DataFrame", contexts: "pd.DataFrame"
) -> dict[Name, str]:
    """What the writer is asked of each feature.

    Args:
        features: Layer and feature of each.
        tokens, contexts: Rows of these kinds.
    """
    return {
        feature: question(
            _of(tokens, feature).head(settings.tokens),
            _of(contexts, feature).head(settings.contexts),
        )
        for feature in features
    }


def question(tokens: "pd.DataFrame", places: "pd.DataFrame") -> str:
    """The question about one feature.

    Args:
        tokens: Column token, the most promoted first.
        places: Columns activation, before, token, after, the most active first.
    """
    promoted = ", ".join(repr(token) for token in tokens["token"])
    shown = [
        f"{number}. (activation {row.activation:.3g}) ...{row.before[-_SHOWN:]}"
        f"<<{row.token}>>{row.after[:_SHOWN]}..."
        for number, row in enumerate(places.itertuples(), 1)
    ]
    return "\n".join(
        [
            "A feature inside a language model is active at the tokens marked << >> below, in "
            "texts of a gambling game. Say in one sentence what it stands for. Say so if the "
            "examples have nothing in common.",
            "",
            f"Tokens that it makes likelier: {promoted}",
            "",
            "Where it is most active:" if shown else "It is active nowhere in these texts.",
            *shown,
            "",
            "The feature stands for:",
        ]
    )


def _of(frame: "pd.DataFrame", feature: Name) -> "pd.DataFrame":
    layer, number = feature
    mine = (frame["layer"] == layer) & (frame["feature"] == number)
    return frame[mine].sort_values("rank")
