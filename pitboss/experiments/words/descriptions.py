"""What a language model says a causal feature is about, shown its top tokens and contexts.

Off unless the study asks for it. A description is a guess: it is stored with who wrote it and with
all that the writer was shown, and no number depends on it.
"""

import time
from typing import Any, NamedTuple

import pandas as pd

from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.identity import model_identity
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.words import contexts
from pitboss.experiments.words import experiment as words
from pitboss.experiments.words.settings import Describe
from pitboss.experiments.words.writers import Written, ask_model, ask_server
from pitboss.store import PartRef, Store, table_of
from pitboss.studies.model import Study

ASKED = 1
"""Version of the question; raised when a letter changes."""

_SHOWN = 160  # characters before and behind the token
_COLUMNS = ["layer", "feature", "rank"]


class _Work(NamedTuple):
    features: list[tuple[int, int]]
    tokens: str
    contexts: str


def section(study: Study) -> Describe:
    """The settings, or BadInput if the study wants no descriptions."""
    if study.words.describe is None:
        raise BadInput("The study asks for no descriptions.", where="words.describe")
    return study.words.describe


def writer(study: Study) -> str | None:
    """The study's model that writes, by its alias; None where a server does."""
    settings = section(study)
    return settings.model if settings.url is None else None


def units(study: Study, store: Store) -> list[Unit]:
    """One unit a layer with causal features.

    Raises:
        Incomplete: Tokens or contexts are not there yet.
    """
    settings, alias = section(study), study.words.model
    shown = {"tokens": words.unit(study, store), "contexts": contexts.unit(study, store)}
    refs = {name: unit.ref(store) for name, unit in shown.items()}
    if missing := [name for name, ref in refs.items() if ref is None]:
        raise Incomplete(f"The {missing[0]} of the causal features are not there yet.")
    causal, _ = words.causal(study, store)
    own = writer(study)
    identity = {
        **{name: ref.sha256 for name, ref in refs.items() if ref},
        "asked": ASKED,
        "describe": settings.model_dump(exclude={"key_variable", "timeout_seconds"}),
        "writer": model_identity(study, own, "games") if own else None,
    }
    keys = {name: unit.key for name, unit in shown.items()}
    found = []
    for layer in sorted({layer for layer, _ in causal}):
        here = [name for name in causal if name[0] == layer]
        found.append(
            Unit(
                experiment="words",
                kind="descriptions",
                slug=f"{alias}/descriptions-L{layer:02d}",
                identity={**identity, "layer": layer},
                rows=len(here),
                payload=_Work(here, keys["tokens"], keys["contexts"]),
            )
        )
    return found


def run(
    lane: Lane | None, study: Study, store: Store, unit: Unit, slots: int | None = None
) -> PartRef:
    """Ask about every feature of one layer, and commit the answers.

    Args:
        lane: The writer's lane; None where a server writes.
        slots: Answers that are written at once where memory is short, or None.

    Raises:
        NotWritten: An answer was not obtained; the layer is asked again when words is run again.
    """
    if done := unit.ref(store):
        return done
    began = time.time()
    settings, work = section(study), unit.payload
    prompts = questions(settings, store, work.features, work.tokens, work.contexts)
    if lane is None:
        by = f"{settings.model} at {settings.url}"
        written = {name: ask_server(settings, text) for name, text in prompts.items()}
    else:
        by = lane.loaded.spec.id
        written = ask_model(lane, settings, prompts, slots)
    rows = [
        _row(study, feature, prompts[_name(*feature)], written[_name(*feature)], by)
        for feature in work.features
    ]
    return unit.commit(store, table_of("descriptions", rows), began, {"by": by})


def questions(
    settings: Describe,
    store: Store,
    features: list[tuple[int, int]],
    tokens_key: str,
    contexts_key: str,
) -> dict[str, str]:
    """What the writer is asked of each feature, by the feature's name."""
    tokens = store.read("tokens", [tokens_key], columns=[*_COLUMNS, "token"]).to_pandas()
    columns = [*_COLUMNS, "activation", "before", "token", "after"]
    places = store.read("contexts", [contexts_key], columns=columns).to_pandas()
    return {
        _name(*feature): question(
            _of(tokens, feature).head(settings.tokens), _of(places, feature).head(settings.contexts)
        )
        for feature in features
    }


def question(tokens: pd.DataFrame, places: pd.DataFrame) -> str:
    """The question about one feature.

    Args:
        tokens: Column token, the most promoted first.
        places: Columns activation, before, token, after, the most active first.
    """
    promoted = ", ".join(repr(token) for token in tokens["token"])
    shown = [
        f"{number}. (activation {row.activation:.3g}) ...{row.before[-_SHOWN:]}"
        f"<<{row.token}>>{row.after[:_SHOWN]}..."
        for number, row in enumerate(places.itertuples(), 1)
    ]
    return "\n".join(
        [
            "A feature inside a language model is active at the tokens marked << >> below, in "
            "texts of a gambling game. Say in one sentence what it stands for. Say so if the "
            "examples have nothing in common.",
            "",
            f"Tokens that it makes likelier: {promoted}",
            "",
            "Where it is most active:" if shown else "It is active nowhere in these texts.",
            *shown,
            "",
            "The feature stands for:",
        ]
    )


def _of(frame: pd.DataFrame, feature: tuple[int, int]) -> pd.DataFrame:
    layer, number = feature
    mine = (frame["layer"] == layer) & (frame["feature"] == number)
    return frame[mine].sort_values("rank")


def _name(layer: int, feature: int) -> str:
    return f"L{layer}/F{feature}"


def _row(
    study: Study, feature: tuple[int, int], prompt: str, written: Written, by: str
) -> dict[str, Any]:
    layer, number = feature
    return {
        "model": study.spec(study.words.model).id,
        "layer": layer,
        "feature": number,
        "text": written.text,
        "by": by,
        "prompt": prompt,
        "finish": written.finish,
    }
