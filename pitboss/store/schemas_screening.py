"""Tables of the screening: what each patch does to the first token's decision, and who leads."""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required

SCREENING = Kind(
    "screening",
    "One row a feature, prompt and value: the decision of the first token, computed, not sampled. "
    "Without groups of games value_name is off (0) or most (the largest activation in the screened "
    "prompts).",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required("feature", pa.int32(), "Patched feature."),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required("value_name", pa.string(), "safe or risky: whose mean the value is."),
        required("value", pa.float32(), "Value the feature is set to."),
        required("own", pa.float32(), "Its own activation at the last prompt token."),
        required(
            "p_bet",
            pa.float64(),
            "Probability that the first token is a bet; among the choices alone where decided is "
            "null.",
        ),
        required("p_stop", pa.float64(), "The same of a stop."),
        optional(
            "decided",
            pa.float64(),
            "Probability that the first token is any choice; null when it was not computed.",
        ),
        required("log_odds", pa.float64(), "Log odds of stop against bet under the patch."),
        required("unpatched", pa.float64(), "Log odds of the same prompt without a patch."),
        required("shift", pa.float64(), "log_odds - unpatched."),
        required(
            "unchanged",
            pa.bool_(),
            "The value is the activation, so the patch is none and the row is the unpatched one.",
        ),
    ),
    ("model", "layer", "feature", "prompt", "value_name"),
)

RANKING = Kind(
    "ranking",
    "One row a screened feature: its strongest effects on the log odds of stopping. Where its "
    "values are off and most, the contrast is off minus most.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("rank", pa.int32(), "Place, from 1."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required("feature", pa.int32(), "Patched feature."),
        required("shift", pa.float64(), "Largest shift in size over prompts and values, signed."),
        required("prompt", pa.string(), "Prompt of that shift."),
        required("value_name", pa.string(), "Value of that shift."),
        optional(
            "contrast",
            pa.float64(),
            "Log odds under the safe minus under the risky value, largest in size over prompts; "
            "null unless both are screened.",
        ),
        optional("contrast_prompt", pa.string(), "Prompt of that contrast; null without it."),
        required("unchanged", pa.bool_(), "No value changes anything in any prompt."),
    ),
    ("model", "rank"),
)
