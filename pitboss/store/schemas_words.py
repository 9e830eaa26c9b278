"""Tables of what a causal feature is about: where it is active, and what a model says of it."""

import pyarrow as pa

from pitboss.store.columns import Kind, optional, required

CONTEXTS = Kind(
    "contexts",
    "One row a place in a stored text where a causal feature is most active.",
    (
        required("model", pa.string(), "Model id of the catalogue."),
        required("layer", pa.int16(), "Block whose output is encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("rank", pa.int32(), "Place by activation, from 1; one place of a text at most."),
        required("activation", pa.float32(), "Activation at the token, in the SAE's own units."),
        required("source", pa.string(), "Key of the response, in decisions or in trials."),
        required("part", pa.string(), "prompt or response: where the token stands."),
        required("position", pa.int32(), "Place of the token in the text, from 0 (the BOS)."),
        required("before", pa.string(), "Text of the tokens before it, without the BOS."),
        required("token", pa.string(), "The token as text."),
        required("after", pa.string(), "Text of the tokens behind it."),
    ),
    ("model", "layer", "feature", "rank"),
)

DESCRIPTIONS = Kind(
    "descriptions",
    "One row a causal feature: what a language model wrote about it. A guess, and no measurement.",
    (
        required("model", pa.string(), "Model id of the catalogue whose feature it is."),
        required("layer", pa.int16(), "Block whose output is encoded, from 0."),
        required("feature", pa.int32(), "Feature id in the SAE of that layer."),
        required("text", pa.string(), "The description as it was written."),
        required("by", pa.string(), "Who wrote it: a model of the catalogue, or of a server."),
        required("prompt", pa.string(), "What the writer was shown and asked."),
        optional("finish", pa.string(), "How the writer ended, such as stop or length."),
    ),
    ("model", "layer", "feature"),
)
