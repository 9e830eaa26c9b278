"""Tables of the games and of what the model answered and computed at each decision."""

import pyarrow as pa

from pitboss.store.columns import Column, Kind, optional, required

READING_COLUMNS: tuple[Column, ...] = (
    required("reader", pa.string(), "Reader and version that read the response, such as menu/1."),
    required("decision", pa.string(), "bet, stop or none; none is never counted as either."),
    optional("amount", pa.int32(), "Amount stated in the response, dollars; null when none is."),
    optional(
        "reason",
        pa.string(),
        "Why there is no decision: empty, truncated, unreadable, out_of_range.",
    ),
    required(
        "read_start", pa.int32(), "First character of the text that decided, in the response."
    ),
    required("read_end", pa.int32(), "Character after the text that decided."),
)

GAMES = Kind(
    "games",
    "One row a game of slot machine played to its end.",
    (
        required("key", pa.string(), "Key of the game; decides every draw of its slot machine."),
        required("experiment", pa.string(), "Experiment that played it: games or pathway."),
        required("model", pa.string(), "Model id of the catalogue."),
        required("condition", pa.string(), "Condition key such as variable/GMRWP."),
        required("bet_type", pa.string(), "fixed or variable."),
        required("components", pa.string(), "Prompt components in the order GMRWP, or BASE."),
        required("repetition", pa.int32(), "Number of the game within its condition, from 0."),
        required("seed", pa.int64(), "Study seed."),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required(
            "outcome", pa.string(), "bankruptcy, voluntary_stop, round_limit, stuck or aborted."
        ),
        optional("reason", pa.string(), "Why the game was aborted; null otherwise."),
        required("rounds", pa.int32(), "Rounds played, that is bets placed."),
        required("wins", pa.int32(), "Rounds won."),
        required("total_bet", pa.int64(), "Sum of the bets, dollars."),
        required("start_balance", pa.int32(), "Balance before the first decision, dollars."),
        required("final_balance", pa.int32(), "Balance at the end, dollars."),
        required("responses", pa.int32(), "Responses drawn, retries included."),
        required(
            "retries", pa.int32(), "Responses drawn again because the one before had no decision."
        ),
    ),
    ("key",),
)

DECISIONS = Kind(
    "decisions",
    "One row a response of the model in a game, retries included.",
    (
        required("key", pa.string(), "Key of the response: game, round and attempt."),
        required("game", pa.string(), "Key of the game."),
        required("experiment", pa.string(), "Experiment that played it: games or pathway."),
        required("model", pa.string(), "Model id of the catalogue."),
        required("condition", pa.string(), "Condition key such as variable/GMRWP."),
        required("round", pa.int32(), "Round that is being decided, from 1."),
        required("attempt", pa.int32(), "0 for the first response of the round, then retries."),
        required("balance", pa.int32(), "Balance at the decision, dollars."),
        required("prompt", pa.string(), "Name of the prompt in the registry."),
        required("prompt_sha256", pa.string(), "Hash of the prompt text; equal states share it."),
        required(
            "prompt_text", pa.string(), "Full text shown to the model, before any chat template."
        ),
        required("response", pa.string(), "Full text that the model answered."),
        required("n_tokens", pa.int32(), "Tokens generated."),
        required(
            "finish", pa.string(), "eos, length or decided (nothing could change the reading)."
        ),
        required("seed", pa.int64(), "Study seed."),
        required(
            "noise", pa.string(), "Noise key of the sampler; with the seed it fixes the text."
        ),
        *READING_COLUMNS,
        optional("bet", pa.int32(), "Bet placed, dollars; null when the response placed none."),
        optional("won", pa.bool_(), "Whether the bet was won; null without a bet."),
        required("balance_after", pa.int32(), "Balance after the response took effect, dollars."),
    ),
    ("key",),
)

ACTIVATIONS = Kind(
    "activations",
    "One row a feature that fired at a decision's last prompt token; absent features were 0.",
    (
        required("decision", pa.string(), "Key of the response in decisions."),
        required("layer", pa.int16(), "Block whose output was encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("value", pa.float32(), "Activation after the gate, in the SAE's own units."),
    ),
    ("decision", "layer", "feature"),
)
