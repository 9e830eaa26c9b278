"""Where causal features are active: their encoders over the tokens of stored prompts and responses.

A declared sample of responses is read again, each behind its prompt. At each token the activations
of all causal features are computed, and of each feature only the most active places are kept.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd

from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.residuals import footprint
from pitboss.experiments.runtime.unit import Outcome
from pitboss.experiments.words.peaks import Text, most_active
from pitboss.experiments.words.settings import Contexts
from pitboss.games.scenes import scene
from pitboss.models.loading import LoadedModel
from pitboss.saes.bank import FeatureBank
from pitboss.store import Store

_COLUMNS = ["key", "prompt_text", "response", "n_tokens"]


def find(
    context: ModelContext,
    settings: Contexts,
    bank: FeatureBank,
    sample: pd.DataFrame,
    slots: int,
) -> Outcome:
    """Read the sample and keep the most active places of every feature of the bank.

    Args:
        sample: As `responses` gives it.
        slots: The most layers at once; changes no result.

    Raises:
        BadInput: Not even one layer fits.
        OutOfMemory: The device has no room; fewer layers at once may do.
    """
    loaded = context.loaded
    texts = list(tokenised(loaded, sample))
    other = sum(
        len(text.tokens) - text.prompt != n
        for text, n in zip(texts, sample["n_tokens"], strict=True)
    )
    context.forget_engine()  # its keys and values take the room that long texts need
    longest = max((len(text.tokens) for text in texts), default=0)
    fitting, pressure = context.guarded(slots, footprint(loaded, bank, longest))
    found, read = most_active(loaded, bank, texts, settings.top, slots=fitting, pressure=pressure)
    rows = [row | {"model": loaded.spec.id} for row in _rows(loaded, found, bank, settings)]
    silent = len(bank) - len({(row["layer"], row["feature"]) for row in rows})
    facts = {
        "texts": len(texts),
        "tokens": read,
        "silent_features": silent,
        "otherwise_tokenised": other,
        "device": str(loaded.device),
    }
    return Outcome({"contexts": rows}, facts)


def responses(
    store: Store, seed: int, played: Sequence[str], baseline: str, most: int
) -> pd.DataFrame:
    """The sample: columns key, prompt_text, response, n_tokens; each prompt and response once.

    The baseline's responses come first, then the games' in the order of a hash of their keys.

    Args:
        played: Keys of batches of games; none where there are none.
        baseline: Key of the unpatched runs.
        most: Texts at most.

    Raises:
        Incomplete: A part is missing.
    """
    frame = store.read("trials", [baseline], columns=["key", "prompt", "response", "n_tokens"])
    trials = frame.to_pandas()
    trials["prompt_text"] = [scene(name).text for name in trials["prompt"]]
    decisions = store.read("decisions", played, columns=_COLUMNS).to_pandas()
    order = [_order(seed, key) for key in decisions["key"]]
    decisions = decisions.iloc[np.argsort(order, kind="stable")]
    every = pd.concat([trials[_COLUMNS].sort_values("key"), decisions[_COLUMNS]])
    distinct = every.drop_duplicates(["prompt_text", "response"])
    return distinct.head(most).reset_index(drop=True)


def _order(seed: int, key: str) -> bytes:
    return blake2b(f"{seed}/contexts/{key}".encode(), digest_size=8).digest()


def tokenised(loaded: LoadedModel, sample: pd.DataFrame) -> Iterator[Text]:
    """The sample's texts as tokens, in its order."""
    for row in sample.itertuples():
        prompt = loaded.encode(row.prompt_text)
        tokens = (*prompt, *loaded.encode_response(row.response))
        yield Text(tokens, len(prompt), row.key)


def _rows(
    loaded: LoadedModel,
    found: list[list[tuple[float, Text, int]]],
    bank: FeatureBank,
    settings: Contexts,
) -> Iterator[dict[str, Any]]:
    names = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
    for (layer, feature), places in zip(names, found, strict=True):
        for rank, (value, text, at) in enumerate(places, 1):
            tokens = list(text.tokens)
            yield {
                "layer": layer,
                "feature": feature,
                "rank": rank,
                "activation": value,
                "source": text.source,
                "part": "prompt" if at < text.prompt else "response",
                "position": at,
                "before": loaded.show(tokens[max(1, at - settings.around) : at]),
                "token": loaded.show(tokens[at : at + 1]),
                "after": loaded.show(tokens[at + 1 : at + 1 + settings.around]),
            }
