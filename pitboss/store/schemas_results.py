"""Tables of the patched runs and of what the analyses make of them."""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required
from pitboss.store.schemas_games import READING_COLUMNS

TRIALS = Kind(
    "trials",
    "One row a run of a prompt: baseline, patched, or a control.",
    (
        required("key", pa.string(), "Key of the run."),
        required("model", pa.string(), "Model id of the catalogue."),
        required(
            "role",
            pa.string(),
            "baseline, feature, random_feature, random_direction, own_value or reconstruction.",
        ),
        optional(
            "matched", pa.string(), "Patched feature that a control is matched to, such as L3/F12."
        ),
        required("phase", pa.string(), "discovery, or confirmation on held-out states or noise."),
        required("prompt", pa.string(), "Name of the prompt that was answered."),
        required(
            "scene", pa.string(), "The prompt's name, or that of the set of states it is one of."
        ),
        required("prompt_sha256", pa.string(), "Hash of the prompt text."),
        required("balance", pa.int32(), "What the player owns in this prompt, $."),
        required("highest", pa.int32(), "Largest stake that is on offer and can be paid, $."),
        required("arm", pa.string(), "baseline, safe, risky, own or reconstruction."),
        optional("layer", pa.int16(), "Patched block, from 0; null for the baseline."),
        optional(
            "feature",
            pa.int32(),
            "Patched feature; of a random_direction, the one whose change is written along it; "
            "null for baseline and reconstruction.",
        ),
        optional(
            "value", pa.float32(), "Value the feature was set to; null where it is set to none."
        ),
        optional(
            "mode", pa.string(), "delta, reconstruct or reconstruct_only; null for the baseline."
        ),
        optional("positions", pa.string(), "Patched positions; null for the baseline."),
        required("trial", pa.int32(), "Number of the run within its arm and prompt, from 0."),
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
    "One row a patched feature or control, scene, contrast and outcome: arm a minus arm b.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("role", pa.string(), "feature, random_feature or random_direction."),
        required("phase", pa.string(), "discovery or confirmation."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required(
            "feature", pa.int32(), "Patched feature; of a random_direction, the one it stands for."
        ),
        required("prompt", pa.string(), "The scene: a prompt, or a set of states pooled by state."),
        required(
            "contrast", pa.string(), "safe_vs_risky (primary), safe_vs_baseline, risky_vs_baseline."
        ),
        required(
            "outcome",
            pa.string(),
            "stop (share of decided runs that stop), stake (mean bet over balance, of the bets), "
            "extreme (share of bets of at least half of the balance) or readable (share of all "
            "runs with a decision).",
        ),
        required("status", pa.string(), "tested or not_testable."),
        optional("reason", pa.string(), "Why it could not be tested; null when it was."),
        required("n_a", pa.int32(), "Denominator of the first arm: the runs the outcome is of."),
        optional("events_a", pa.int32(), "Of these, events; null for the outcome stake."),
        required("none_a", pa.int32(), "Runs of the first arm without a decision."),
        required("n_b", pa.int32(), "Denominator of the second arm."),
        optional("events_b", pa.int32(), "Of these, events; null for the outcome stake."),
        required("none_b", pa.int32(), "Runs of the second arm without a decision."),
        optional("value_a", pa.float64(), "events_a / n_a, or the mean stake; null without runs."),
        optional("value_b", pa.float64(), "The same of the second arm."),
        optional("difference", pa.float64(), "value_a - value_b; null when one is."),
        optional(
            "ci_low",
            pa.float64(),
            "Lower end of the 95 % interval of the difference: Newcombe's for shares, Welch's for "
            "stakes; over a set of states never inside the interval clustered by state.",
        ),
        optional("ci_high", pa.float64(), "Upper end of the same interval."),
        optional(
            "log_odds_ratio", pa.float64(), "ln odds ratio, 0.5 added to each cell; null for stake."
        ),
        optional(
            "p",
            pa.float64(),
            "Exact conditional p, stratified by state (Fisher's for one prompt), or of the test "
            "that the study names; rank test for stakes. Two-sided; one-sided in the discovery's "
            "direction in the confirmation. Null if not testable.",
        ),
        optional(
            "q",
            pa.float64(),
            "Benjamini-Hochberg over all features, scenes and outcomes of the contrast (of the "
            "confirmation: over its candidates); null for controls, which are held against the "
            "features' cut-off.",
        ),
        required(
            "significant",
            pa.bool_(),
            "q is at most the study's FDR; of a control: p is at most the largest significant p "
            "of a feature.",
        ),
        optional(
            "direction", pa.string(), "Such as safe_value_increases_stop; null if not testable."
        ),
        required("test", pa.string(), "fisher, stratified, paired, rank or sequential."),
        optional("p_none", pa.float64(), "p that the arms differ in runs without a decision."),
        optional("q_none", pa.float64(), "Its q: that of the outcome readable."),
        optional(
            "unreadable_arm", pa.string(), "Arm with significantly more runs without a decision."
        ),
        optional(
            "p_worst",
            pa.float64(),
            "p if every undecided run had spoken against the effect; outcome stop only.",
        ),
        optional("e_value", pa.float64(), "Evidence of a sequential design; null in a fixed one."),
        required(
            "causal",
            pa.bool_(),
            "Of the feature: its primary contrast of stopping is significant in a scene of the "
            "discovery, and stands whatever undecided runs would have said. Never of a control.",
        ),
    ),
    ("model", "role", "phase", "layer", "feature", "prompt", "contrast", "outcome"),
)

FINDINGS = Kind(
    "findings",
    "One row a patched feature: its strongest primary contrast of stopping, and what became of it.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Patched block, from 0."),
        required("feature", pa.int32(), "Patched feature."),
        required("causal", pa.bool_(), "Found causal in the discovery."),
        optional(
            "confirmed", pa.bool_(), "Found again on held-out states or noise; null if not asked."
        ),
        optional("direction", pa.string(), "Such as safe_value_increases_stop."),
        optional("prompt", pa.string(), "Scene of this contrast; null if none is testable."),
        optional("difference", pa.float64(), "Stop rate at the safe minus at the risky value."),
        optional("ci_low", pa.float64(), "Lower end of its 95 % interval."),
        optional("ci_high", pa.float64(), "Upper end of its 95 % interval."),
        optional("p", pa.float64(), "p of this contrast."),
        optional("q", pa.float64(), "q of this contrast."),
        optional("e_value", pa.float64(), "Its evidence in a sequential design."),
        required("prompts_causal", pa.int32(), "Scenes in which it was found causal."),
        required("unreadable", pa.bool_(), "An arm breaks responses in some scene."),
        required("runs", pa.int32(), "Patched runs of the discovery."),
        optional("d", pa.float64(), "Cohen's d by which it was selected; null if taken in anyway."),
        optional(
            "screen_shift",
            pa.float64(),
            "Screening's difference of the log odds of stopping, safe minus risky value; null "
            "unless screening comes before patching.",
        ),
    ),
    ("model", "layer", "feature"),
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
        required("n_safe", pa.int64(), "Safe-value responses."),
        required("n_risky", pa.int64(), "Risky-value responses."),
        required(
            "z",
            pa.float64(),
            "log_odds over its standard deviation; words of one response "
            "are no independent draws, so it ranks and does not test.",
        ),
        required("p", pa.float64(), "Two-sided normal p of z."),
        required(
            "q", pa.float64(), "Benjamini-Hochberg of p over this scope's and prompt's words."
        ),
        required("p_responses", pa.float64(), "Fisher's exact p of the responses with the word."),
        required("q_responses", pa.float64(), "Benjamini-Hochberg of it, in the same family."),
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
