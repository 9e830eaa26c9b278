"""Where causal features are active: their encoders over the tokens of stored prompts and responses.

A declared sample of responses is read again, each behind its prompt. At each token the activations
of all causal features are computed, and of each feature only the most active places are kept.
"""

import time
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pitboss.errors import BadInput
from pitboss.experiments.games import experiment as games
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity
from pitboss.experiments.runtime.residuals import footprint
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening.ranking import patched_bank
from pitboss.experiments.words import experiment as words
from pitboss.experiments.words.peaks import Text, most_active
from pitboss.experiments.words.settings import Contexts
from pitboss.games.scenes import scene
from pitboss.models.loading import LoadedModel
from pitboss.saes.bank import FeatureBank
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

_COLUMNS = ["key", "prompt_text", "response", "n_tokens"]


class _Work(NamedTuple):
    causal: list[tuple[int, int]]
    games: list[str]
    baseline: str


def section(study: Study) -> Contexts:
    """The settings, or BadInput if the study wants none."""
    if study.words.contexts is None:
        raise BadInput("The study asks for no contexts.", where="words.contexts")
    return study.words.contexts


def unit(study: Study, store: Store) -> Unit:
    """The one unit: the contexts of all features found causal.

    Raises:
        Incomplete: The effects of the patching are not there yet.
    """
    causal, found = words.causal(study, store)
    alias = study.words.model
    played = [part.key for part in games.units(study, alias)] if alias in study.games.models else []
    baseline = patching.baseline_unit(study).key
    return Unit(
        experiment="words",
        kind="contexts",
        slug=f"{alias}/contexts",
        identity={
            **model_identity(study, alias, "words"),
            "effects": found.sha256,
            "contexts": section(study).model_dump(),
            "games": played,
            "baseline": baseline,
        },
        rows=None,  # a feature that is active in fewer texts has fewer contexts
        at_once=len({layer for layer, _ in causal}) or 1,
        payload=_Work(causal, played, baseline),
    )


def run(lane: Lane, store: Store, unit: Unit, slots: int | None = None) -> PartRef:
    """Read the sample and commit the contexts of every causal feature."""
    if done := unit.ref(store):
        return done
    began = time.time()
    work, settings = unit.payload, section(lane.study)
    sample = responses(lane.study, store, work.games, work.baseline)
    texts = list(_tokenised(lane.loaded, sample))
    other = sum(
        len(text.tokens) - text.prompt != n
        for text, n in zip(texts, sample["n_tokens"], strict=True)
    )
    bank = chosen_bank(lane.study, store, work.causal)
    lane.forget_engine()  # its keys and values take the room that long texts need
    longest = max((len(text.tokens) for text in texts), default=0)
    most = slots or unit.at_once or 1
    fitting, pressure = lane.guarded(most, footprint(lane.loaded, bank, longest))
    found, read = most_active(
        lane.loaded, bank, texts, settings.top, slots=fitting, pressure=pressure
    )
    rows = [
        row | {"model": lane.loaded.spec.id} for row in _rows(lane.loaded, found, bank, settings)
    ]
    silent = len(bank) - len({(row["layer"], row["feature"]) for row in rows})
    facts = {
        "texts": len(texts),
        "tokens": read,
        "silent_features": silent,
        "otherwise_tokenised": other,
        "device": str(lane.loaded.device),
    }
    return unit.commit(store, table_of("contexts", rows), began, facts)


def chosen_bank(study: Study, store: Store, causal: Sequence[tuple[int, int]]) -> FeatureBank:
    """The rows of the patched features' bank that are named."""
    bank = patched_bank(study, store)
    pairs = zip(bank.layer.tolist(), bank.feature.tolist(), strict=True)
    place = {pair: i for i, pair in enumerate(pairs)}
    return bank.rows([place[pair] for pair in causal])


def responses(study: Study, store: Store, played: Sequence[str], baseline: str) -> pd.DataFrame:
    """The sample: columns key, prompt_text, response, n_tokens; each prompt and response once.

    The baseline's responses come first, then the games' in the order of a hash of their keys.
    """
    frame = store.read("trials", [baseline], columns=["key", "prompt", "response", "n_tokens"])
    trials = frame.to_pandas()
    trials["prompt_text"] = [prompt_text(name) for name in trials["prompt"]]
    decisions = store.read("decisions", played, columns=_COLUMNS).to_pandas()
    order = [_order(study.seed, key) for key in decisions["key"]]
    decisions = decisions.iloc[np.argsort(order, kind="stable")]
    every = pd.concat([trials[_COLUMNS].sort_values("key"), decisions[_COLUMNS]])
    distinct = every.drop_duplicates(["prompt_text", "response"])
    return distinct.head(section(study).texts).reset_index(drop=True)


def prompt_text(name: str) -> str:
    """The text of a scene or of a generated state."""
    return scene(name).text


def _order(seed: int, key: str) -> bytes:
    return blake2b(f"{seed}/contexts/{key}".encode(), digest_size=8).digest()


def _tokenised(loaded: LoadedModel, sample: pd.DataFrame) -> Iterator[Text]:
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
