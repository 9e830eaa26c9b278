"""Tables of the pathway: how the decision forms from layer to layer."""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required

PATHWAY = Kind(
    "pathway",
    "One row a layer's top feature: decisions to stop against decisions to bet.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("rank", pa.int32(), "Place by |d| within the layer, from 1."),
        required("n_stop", pa.int64(), "Decisions to stop."),
        required("n_bet", pa.int64(), "Decisions to bet."),
        required("fired_stop", pa.int64(), "Stops at which it fired."),
        required("fired_bet", pa.int64(), "Bets at which it fired."),
        required("mean_stop", pa.float64(), "Mean activation at stops, zeros included."),
        required("mean_bet", pa.float64(), "Mean activation at bets, zeros included."),
        required("d", pa.float64(), "Cohen's d with pooled sd, stop minus bet."),
        required("p", pa.float64(), "Two-sided Welch p."),
        required("log_p", pa.float64(), "Natural logarithm of p."),
        required("q", pa.float64(), "Benjamini-Hochberg over all tested features of all layers."),
    ),
    ("model", "layer", "feature"),
)

PATHWAY_CURVE = Kind(
    "pathway_curve",
    "One row a layer, outcome and distance from the end: how stop-like the activations are.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("outcome", pa.string(), "Outcome of the game."),
        required("before_end", pa.int32(), "Decisions left in the game; 0 is the last one."),
        required("decisions", pa.int64(), "Decisions averaged."),
        required(
            "score", pa.float64(), "Mean stop score in pooled sd; features chosen on other games."
        ),
        optional(
            "score_sd", pa.float64(), "Standard deviation of the score; null for one decision."
        ),
    ),
    ("model", "layer", "outcome", "before_end"),
)

DECODABILITY = Kind(
    "decodability",
    "One row a layer, grouping and kind of input: how well the coming decision can be read off.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required(
            "layer", pa.int16(), "Block whose output was read, from 0; baseline is alike in all."
        ),
        required(
            "grouping",
            pa.string(),
            "game: no game in training and test at once; state: nor any prompt.",
        ),
        required(
            "inputs",
            pa.string(),
            "sae (its activations), residual (the stream itself) or baseline (balance and round).",
        ),
        optional("auc", pa.float64(), "Chance that a stop scores above a bet; null if no fit."),
        optional("low", pa.float64(), "Lower end of its 95 % bootstrap interval over groups."),
        optional("high", pa.float64(), "Upper end of its 95 % bootstrap interval over groups."),
        optional("gain", pa.float64(), "auc minus the baseline's; null for the baseline."),
        optional("gain_low", pa.float64(), "Lower end of its interval, from the same draws."),
        optional("gain_high", pa.float64(), "Upper end of its interval, from the same draws."),
        required("n_stop", pa.int64(), "Decisions to stop."),
        required("n_bet", pa.int64(), "Decisions to bet."),
        required("folds", pa.int32(), "Folds that the games are dealt into."),
        optional("reason", pa.string(), "Why there is no AUC; null when there is."),
    ),
    ("model", "layer", "grouping", "inputs"),
)

LENS = Kind(
    "lens",
    "One row a layer and decision: the logit lens's margin of stopping over betting.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was read, from 0."),
        required("decision", pa.string(), "stop or bet: what the model then decided."),
        required("n", pa.int64(), "Decisions averaged."),
        required("margin", pa.float64(), "Mean log odds of stopping against betting."),
        optional("margin_low", pa.float64(), "Lower end of its 95 % interval; null for one game."),
        optional("margin_high", pa.float64(), "Upper end of its 95 % interval; null for one game."),
    ),
    ("model", "layer", "decision"),
)

ATTRIBUTION = Kind(
    "attribution",
    "One row a feature that is active in a scene: its part in the decision, to first order and "
    "exactly.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("n", pa.int32(), "Scenes in which it is active."),
        required(
            "attribution",
            pa.float64(),
            "Activation times decoder row times gradient of the log odds of stopping against "
            "betting, mean over the scenes.",
        ),
        required(
            "patched",
            pa.float64(),
            "Log odds without a patch minus those with the feature set to 0, mean over the scenes.",
        ),
    ),
    ("model", "layer", "feature"),
)
