"""Tables of the feature statistics: group sums, tests, selected features.

The risky group are games that end in bankruptcy, the safe group games that end in a voluntary stop.
"""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required

SUMS = Kind(
    "sums",
    "One row a feature and group: sums over the group's decisions; every statistic follows.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("group", pa.string(), "risky (bankruptcy) or safe (voluntary stop)."),
        required("n", pa.int64(), "Decisions in the group."),
        required("total", pa.float64(), "Sum of the activations."),
        required("total_squared", pa.float64(), "Sum of the squared activations."),
        required("fired", pa.int64(), "Decisions at which the feature was above 0."),
    ),
    ("model", "layer", "feature", "group"),
)

STATISTICS = Kind(
    "statistics",
    "One row a feature of a layer: risky against safe decisions.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("sae", pa.string(), "SAE release id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("status", pa.string(), "tested or not_tested."),
        optional("reason", pa.string(), "Why it was not tested; null when it was."),
        required("n_risky", pa.int64(), "Decisions of games that ended in bankruptcy."),
        required("n_safe", pa.int64(), "Decisions of games that ended in a voluntary stop."),
        required("fired_risky", pa.int64(), "Risky decisions at which it fired."),
        required("fired_safe", pa.int64(), "Safe decisions at which it fired."),
        required(
            "mean_risky", pa.float64(), "Mean activation over risky decisions, zeros included."
        ),
        required("mean_safe", pa.float64(), "Mean activation over safe decisions, zeros included."),
        required("sd_risky", pa.float64(), "Sample standard deviation over risky decisions."),
        required("sd_safe", pa.float64(), "Sample standard deviation over safe decisions."),
        optional(
            "d", pa.float64(), "Cohen's d with pooled sd, risky minus safe; null if not tested."
        ),
        optional("t", pa.float64(), "Welch's t; null if not tested."),
        optional("df", pa.float64(), "Welch-Satterthwaite degrees of freedom; null if not tested."),
        optional("p", pa.float64(), "Two-sided p; 0 only where it underflows; null if not tested."),
        optional("log_p", pa.float64(), "Natural logarithm of p, exact where p underflows."),
        required("p_underflow", pa.bool_(), "p is smaller than a double can hold."),
        optional("q", pa.float64(), "Benjamini-Hochberg over all tested features of all layers."),
    ),
    ("model", "layer", "feature"),
)

FEATURES = Kind(
    "features",
    "One row a selected feature with the two values it can be patched to.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("sae", pa.string(), "SAE release id of the catalogue."),
        required("layer", pa.int16(), "Block whose output is patched, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("chosen_by", pa.string(), "statistics, or included when the study file names it."),
        optional(
            "rank", pa.int32(), "Place by |d| within the layer, from 1; null if only included."
        ),
        required("safe", pa.float32(), "Mean activation over safe decisions: the safe value."),
        required("risky", pa.float32(), "Mean activation over risky decisions: the risky value."),
        optional("d", pa.float64(), "Cohen's d, risky minus safe; null if not tested."),
        optional("p", pa.float64(), "Two-sided Welch p; null if not tested."),
        optional("log_p", pa.float64(), "Natural logarithm of p; null if not tested."),
        optional(
            "q", pa.float64(), "Benjamini-Hochberg q over all tested features; null if not tested."
        ),
        optional(
            "direction", pa.string(), "higher_in_risky or higher_in_safe; null if not tested."
        ),
    ),
    ("model", "layer", "feature"),
)
