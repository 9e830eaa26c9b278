"""What the pathway shows: features and curve of the decision, and what each layer holds of it."""

from collections.abc import Iterator, Sequence
from typing import Any

from pitboss.analysis.attribution import agreement
from pitboss.experiments.runtime.artifacts import (
    Artifact,
    FigureArtifact,
    NoteArtifact,
    TableArtifact,
)
from pitboss.experiments.runtime.experiment import Experiment
from pitboss.report.figures import pathway_figure
from pitboss.report.pathway import reading_figure

_RARELY = 0.5  # probability that a scene's first token is any choice


def shown_analysis(
    experiment: Experiment[Any], key: str, shortfall: Sequence[str]
) -> Iterator[Artifact]:
    """The features that differ most, the curve, and what could not be shown.

    Args:
        key: Of the parts `pathway` and `pathway_curve`.
        shortfall: What the quotas lack.
    """
    store, name = experiment.store, experiment.name
    top, record = store.read("pathway", [key]), store.record("pathway", key)
    assert record is not None  # it was just read
    columns = ["layer", "rank", "feature", "d", "q", "mean_stop", "mean_bet"]
    yield TableArtifact(
        name,
        top.select(columns).to_pylist(),
        "Features that differ most between the decisions to stop and to bet, by layer",
        rest=record.ref.path,
    )
    curve = store.read("pathway_curve", [key]).to_pandas()
    yield FigureArtifact(
        experiment.named("pathway"),
        pathway_figure(curve, experiment.models[0]),
        "How the decision forms, by layer and round",
    )
    if notes := [*shortfall, *record.facts.get("notes", [])]:
        text = "\n".join(f"- {note}" for note in notes)
        yield NoteArtifact(f"{name}-notes", text, "What the pathway could not show")


def shown_readings(
    experiment: Experiment[Any], key: str, attributed: Sequence[str]
) -> Iterator[Artifact]:
    """How well each layer tells the decision, by decoding, lens and attribution.

    Args:
        key: Of the parts `decodability` and `lens`.
        attributed: Key of the part `attribution`, if scenes are attributed.
    """
    store, name = experiment.store, experiment.name
    decoded = store.read("decodability", [key])
    columns = ["layer", "grouping", "inputs", "auc", "low", "high"]
    columns += ["gain", "gain_low", "gain_high", "n_stop", "n_bet", "reason"]
    yield TableArtifact(
        f"{name}-decodability",
        decoded.select(columns).to_pylist(),
        "How well the coming decision is decoded from each layer (AUC)",
    )
    features = store.read("attribution", attributed).to_pandas() if attributed else None
    if features is not None:
        agreed = agreement(features).astype(object)
        yield TableArtifact(
            f"{name}-attribution",
            agreed.where(agreed.notna(), None).to_dict("records"),
            "How first-order attribution agrees with setting each feature to 0",
        )
    if low := list(_undecided(experiment, attributed)):
        text = f"- The first token rarely makes the decision in {', '.join(low)}."
        yield NoteArtifact(f"{name}-attribution-notes", text, "What to read with care")
    read = store.read("lens", [key]).to_pandas()
    yield FigureArtifact(
        experiment.named("pathway-reading"),
        reading_figure(decoded.to_pandas(), read, features),
        "What each layer holds of the decision",
    )


def _undecided(experiment: Experiment[Any], attributed: Sequence[str]) -> Iterator[str]:
    """Scenes in which the first token may be anything else."""
    for key in attributed:
        record = experiment.store.record("attribution", key)
        decided: dict[str, float] = record.facts.get("decided", {}) if record else {}
        yield from (f"{scene} ({p:.2f})" for scene, p in decided.items() if p < _RARELY)
