"""Tables of whole games with a clamped feature, and of what the patch does to them."""

import pyarrow as pa

from pitboss.store.columns import Column, Kind, optional, required
from pitboss.store.schemas_games import GAMES

MEASURES: dict[str, str] = {
    "bankruptcy": "share of games that end bankrupt",
    "stop": "share of games that end in a voluntary stop",
    "aborted": "share of all games that are aborted, because no decision could be read",
    "rounds": "mean number of rounds",
    "betting": "betting aggressiveness I_BA, mean over games with a bet",
    "loss_chasing": "loss chasing I_LC, mean over games with a bet after a loss",
    "extreme": "extreme betting I_EC, mean over games with a bet",
}
"""What is measured of a game, by column name: see docs/clamped-games.md."""

PERSISTENT = Kind(
    "persistent",
    "One row a game of Exp5: unpatched, or with one patch in place in every response.",
    (
        *(column for column in GAMES.columns if column.name not in ("key", "experiment")),
        required("key", pa.string(), "Key of the game; `game` of its responses in decisions."),
        required("experiment", pa.string(), "persistent."),
        required(
            "game",
            pa.string(),
            "Name of the game that it shares its luck and its noise with in all arms.",
        ),
        required("role", pa.string(), "baseline, feature or random_direction."),
        required("arm", pa.string(), "baseline, safe or risky."),
        optional("layer", pa.int16(), "Patched block, from 0; null for the baseline."),
        optional(
            "feature",
            pa.int32(),
            "Patched feature; of a random_direction, the one whose change is written along it; "
            "null for the baseline.",
        ),
        optional("matched", pa.string(), "Feature that a control is matched to, such as L3/F12."),
        optional("value", pa.float32(), "Value the feature is held at; null for the baseline."),
    ),
    ("key",),
)


def _differences() -> tuple[Column, ...]:
    columns = []
    for name, what in MEASURES.items():
        columns += [
            required(f"pairs_{name}", pa.int32(), f"Games that have a value in both arms: {what}."),
            optional(
                f"difference_{name}", pa.float64(), "Mean over these pairs, arm minus baseline."
            ),
            optional(f"ci_low_{name}", pa.float64(), "Lower end of its 95 % interval."),
            optional(f"ci_high_{name}", pa.float64(), "Upper end of its 95 % interval."),
            optional(f"p_{name}", pa.float64(), "Two-sided paired p; null without a pair."),
            optional(
                f"q_{name}", pa.float64(), "Benjamini-Hochberg over all rows of the same role."
            ),
        ]
    return tuple(columns)


PERSISTENT_EFFECTS = Kind(
    "persistent_effects",
    "One row an arm of Exp5 and feature: how its games end, against the same games unpatched.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("role", pa.string(), "baseline, feature or random_direction."),
        required("name", pa.string(), "Feature such as L3/F12, or baseline."),
        optional("layer", pa.int16(), "Patched block, from 0; null for the baseline."),
        optional("feature", pa.int32(), "Patched feature, or the one a control is matched to."),
        required("arm", pa.string(), "baseline, safe or risky."),
        required("games", pa.int32(), "Games played."),
        required("aborted", pa.int32(), "Games without a playable decision; in no rate."),
        required("n", pa.int32(), "Games that ended otherwise: the denominator of the rates."),
        required("bankruptcies", pa.int32(), "Of these, bankruptcies."),
        optional("bankruptcy", pa.float64(), "bankruptcies / n; null when n is 0."),
        optional("low", pa.float64(), "Lower end of Wilson's 95 % interval of bankruptcy."),
        optional("high", pa.float64(), "Upper end of Wilson's 95 % interval of bankruptcy."),
        required("stops", pa.int32(), "Of these, voluntary stops."),
        optional("stop", pa.float64(), "stops / n; null when n is 0."),
        optional("rounds", pa.float64(), "Mean rounds of these games."),
        required("with_bet", pa.int32(), "Of these, games with a bet."),
        optional("betting", pa.float64(), f"Mean of {MEASURES['betting']}."),
        optional("extreme", pa.float64(), f"Mean of {MEASURES['extreme']}."),
        required("with_chance", pa.int32(), "Of these, games with a bet after a loss."),
        optional("loss_chasing", pa.float64(), f"Mean of {MEASURES['loss_chasing']}."),
        *_differences(),
    ),
    ("model", "role", "name", "arm"),
)

PERSISTENT_CONTRASTS = Kind(
    "persistent_contrasts",
    "One row a feature or control and measure: held at the safe value against at the risky value.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("role", pa.string(), "feature or random_direction."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required("feature", pa.int32(), "Patched feature, or the one a control is matched to."),
        required("measure", pa.string(), f"{', '.join(MEASURES)}."),
        required("pairs", pa.int32(), "Games that have a value in both arms."),
        optional("difference", pa.float64(), "Mean over these pairs, safe minus risky."),
        optional("ci_low", pa.float64(), "Lower end of its 95 % interval."),
        optional("ci_high", pa.float64(), "Upper end of its 95 % interval."),
        optional("p", pa.float64(), "Two-sided paired p; null without a pair."),
        optional("q", pa.float64(), "Benjamini-Hochberg over the role's rows of this measure."),
    ),
    ("model", "role", "layer", "feature", "measure"),
)
