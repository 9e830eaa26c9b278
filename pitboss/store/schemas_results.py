"""Tables of the patched runs and of what the analyses make of them."""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required
from pitboss.store.schemas_games import READING_COLUMNS

TRIALS = Kind(
    "trials",
    "One row a run of a prompt, patched or baseline.",
    (
        required("key", pa.string(), "Key of the run."),
        required("model", pa.string(), "Model id of the catalogue."),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required("prompt_sha256", pa.string(), "Hash of the prompt text."),
        required("arm", pa.string(), "baseline, safe, risky, or another value's name."),
        optional("layer", pa.int16(), "Patched block, from 0; null for the baseline."),
        optional("feature", pa.int32(), "Patched feature; null for the baseline."),
        optional("value", pa.float32(), "Value the feature was set to; null for the baseline."),
        optional(
            "mode", pa.string(), "delta, reconstruct or reconstruct_only; null for the baseline."
        ),
        optional("positions", pa.string(), "Patched positions; null for the baseline."),
        required("trial", pa.int32(), "Number of the run within its arm, from 0."),
        required("seed", pa.int64(), "Study seed."),
        required(
            "noise", pa.string(), "Noise key of the sampler; with the seed it fixes the text."
        ),
        required("response", pa.string(), "Full text that the model answered."),
        required("n_tokens", pa.int32(), "Tokens generated."),
        required(
            "finish", pa.string(), "eos, length or decided (nothing could change the reading)."
        ),
        *READING_COLUMNS,
    ),
    ("key",),
)

EFFECTS = Kind(
    "effects",
    "One row a feature, prompt and contrast: stop rate of arm a minus stop rate of arm b.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required("feature", pa.int32(), "Patched feature."),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required(
            "contrast", pa.string(), "safe_vs_risky (primary), safe_vs_baseline, risky_vs_baseline."
        ),
        required("status", pa.string(), "tested or not_testable."),
        optional("reason", pa.string(), "Why it could not be tested; null when it was."),
        required("decided_a", pa.int32(), "Runs of the first arm with a decision."),
        required("stop_a", pa.int32(), "Of these, stops."),
        required("none_a", pa.int32(), "Runs of the first arm without a decision; in no rate."),
        required("decided_b", pa.int32(), "Runs of the second arm with a decision."),
        required("stop_b", pa.int32(), "Of these, stops."),
        required("none_b", pa.int32(), "Runs of the second arm without a decision; in no rate."),
        optional("rate_a", pa.float64(), "stop_a / decided_a; null when nothing was decided."),
        optional("rate_b", pa.float64(), "stop_b / decided_b; null when nothing was decided."),
        optional("difference", pa.float64(), "rate_a - rate_b; null when a rate is."),
        optional(
            "ci_low", pa.float64(), "Lower end of Newcombe's 95 % interval of the difference."
        ),
        optional(
            "ci_high", pa.float64(), "Upper end of Newcombe's 95 % interval of the difference."
        ),
        optional(
            "log_odds_ratio", pa.float64(), "ln odds ratio of stopping, 0.5 added to each cell."
        ),
        optional("p", pa.float64(), "Fisher's exact two-sided p; null if not testable."),
        optional(
            "q", pa.float64(), "Benjamini-Hochberg over all features and prompts of the contrast."
        ),
        required("significant", pa.bool_(), "q is at most the study's FDR."),
        optional(
            "direction", pa.string(), "Such as safe_value_increases_stop; null if not testable."
        ),
        optional(
            "p_none", pa.float64(), "Fisher's p that the arms differ in runs without a decision."
        ),
        optional("q_none", pa.float64(), "Benjamini-Hochberg of p_none over the contrast."),
        optional(
            "unreadable_arm", pa.string(), "Arm with significantly more runs without a decision."
        ),
        optional(
            "p_worst",
            pa.float64(),
            "Fisher's p if every undecided run had spoken against the effect.",
        ),
        required(
            "causal", pa.bool_(), "Of the feature: its primary contrast is significant in a prompt."
        ),
    ),
    ("model", "layer", "feature", "prompt", "contrast"),
)

WORDS = Kind(
    "words",
    "One row a word and prompt: safe-value against risky-value responses.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required(
            "scope", pa.string(), "all for the pooled causal features, or one such as L3/F12."
        ),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required("word", pa.string(), "Lower-cased word."),
        required("count_safe", pa.int64(), "Occurrences in safe-value responses."),
        required("count_risky", pa.int64(), "Occurrences in risky-value responses."),
        required("rate_safe", pa.float64(), "Occurrences in 1,000 words of safe-value responses."),
        required(
            "rate_risky", pa.float64(), "Occurrences in 1,000 words of risky-value responses."
        ),
        required("responses_safe", pa.int64(), "Safe-value responses with the word at least once."),
        required(
            "responses_risky", pa.int64(), "Risky-value responses with the word at least once."
        ),
        required(
            "log_odds", pa.float64(), "Log odds ratio with an informative prior, safe over risky."
        ),
        required("z", pa.float64(), "log_odds over its standard deviation."),
        required("p", pa.float64(), "Two-sided normal p of z."),
        required("q", pa.float64(), "Benjamini-Hochberg over the words of this scope and prompt."),
    ),
    ("model", "scope", "prompt", "word"),
)

TOKENS = Kind(
    "tokens",
    "One row a token that a feature's decoder row promotes most.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("sae", pa.string(), "SAE release id of the catalogue."),
        required("layer", pa.int16(), "Block, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("matrix", pa.string(), "unembedding or input_embedding."),
        required("rank", pa.int16(), "Place, from 1."),
        required("token_id", pa.int32(), "Id in the model's vocabulary."),
        required("token", pa.string(), "The token as text."),
        required(
            "score", pa.float32(), "Logit per unit of activation, or cosine for input_embedding."
        ),
    ),
    ("model", "layer", "feature", "matrix", "rank"),
)

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
