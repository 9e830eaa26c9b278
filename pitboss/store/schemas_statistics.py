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
        required("states", pa.int64(), "Distinct prompts in the group."),
        required("states_total", pa.float64(), "Sum of the activations, each prompt once."),
        required("states_squared", pa.float64(), "Sum of their squares."),
        required("states_fired", pa.int64(), "Prompts at which the feature was above 0."),
    ),
    ("model", "layer", "feature", "group"),
)

ADJUSTMENTS = Kind(
    "adjustments",
    "One row a feature: the groups' difference at equal balance and round.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("adjust", pa.string(), "covariates or matched."),
        required("errors", pa.string(), "robust (jackknife over prompts) or classical."),
        required("n_risky", pa.int64(), "Risky observations that count."),
        required("n_safe", pa.int64(), "Safe observations that count."),
        optional("cells", pa.int64(), "Cells of balance and round with both groups, if matched."),
        required(
            "difference", pa.float64(), "Adjusted difference, risky minus safe, in activation."
        ),
        required("se", pa.float64(), "Its standard error."),
        required("df", pa.float64(), "Degrees of freedom of difference / se."),
    ),
    ("model", "layer", "feature"),
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
        required(
            "counted_risky", pa.int64(), "Of these, tested: distinct prompts, or all decisions."
        ),
        required("counted_safe", pa.int64(), "The same of the safe decisions."),
        required("fired_risky", pa.int64(), "Risky decisions at which it fired."),
        required("fired_safe", pa.int64(), "Safe decisions at which it fired."),
        required(
            "mean_risky", pa.float64(), "Mean activation over risky decisions, zeros included."
        ),
        required("mean_safe", pa.float64(), "Mean activation over safe decisions, zeros included."),
        required("sd_risky", pa.float64(), "Sample standard deviation over risky decisions."),
        required("sd_safe", pa.float64(), "Sample standard deviation over safe decisions."),
        optional(
            "d",
            pa.float64(),
            "Cohen's d with pooled sd over what is counted, risky minus safe; null if not tested.",
        ),
        optional("t", pa.float64(), "Welch's t; null if not tested."),
        optional("df", pa.float64(), "Welch-Satterthwaite degrees of freedom; null if not tested."),
        optional("p", pa.float64(), "Two-sided p; 0 only where it underflows; null if not tested."),
        optional("log_p", pa.float64(), "Natural logarithm of p, exact where p underflows."),
        required("p_underflow", pa.bool_(), "p is smaller than a double can hold."),
        optional("q", pa.float64(), "Benjamini-Hochberg over all tested features of all layers."),
        optional(
            "d_adjusted",
            pa.float64(),
            "Difference at equal balance and round over the pooled sd of d; null if not adjusted.",
        ),
        optional("t_adjusted", pa.float64(), "Adjusted difference over its standard error."),
        optional("df_adjusted", pa.float64(), "Its degrees of freedom."),
        optional("p_adjusted", pa.float64(), "Its two-sided p."),
        optional("log_p_adjusted", pa.float64(), "Natural logarithm of p_adjusted."),
        optional("q_adjusted", pa.float64(), "Benjamini-Hochberg of p_adjusted, as q."),
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
            "rank",
            pa.int32(),
            "Place within the layer, from 1, by |d_adjusted|, or |d| where the study does not "
            "adjust; null if only included.",
        ),
        required("safe", pa.float32(), "Mean activation over safe decisions: the safe value."),
        required("risky", pa.float32(), "Mean activation over risky decisions: the risky value."),
        optional("d", pa.float64(), "Cohen's d, risky minus safe; null if not tested."),
        optional("p", pa.float64(), "Two-sided Welch p; null if not tested."),
        optional("log_p", pa.float64(), "Natural logarithm of p; null if not tested."),
        optional(
            "q", pa.float64(), "Benjamini-Hochberg q over all tested features; null if not tested."
        ),
        optional("d_adjusted", pa.float64(), "As in statistics; null if not adjusted."),
        optional("p_adjusted", pa.float64(), "As in statistics; null if not adjusted."),
        optional("q_adjusted", pa.float64(), "As in statistics; null if not adjusted."),
        optional(
            "direction", pa.string(), "higher_in_risky or higher_in_safe; null if not tested."
        ),
    ),
    ("model", "layer", "feature"),
)
