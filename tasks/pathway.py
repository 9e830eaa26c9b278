"""Exp1's decisions read layer by layer: decodability, lens and attribution."""

from typing import Any

from prefect import task

from pitboss.analysis.attribution import agreement
from pitboss.experiments.pathway import attribution, decoding
from pitboss.experiments.runtime.unit import Unit
from pitboss.report.pathway import reading_figure
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_markdown, show_table
from tasks.model import alias_of, carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results

_RARELY = 0.5  # probability that a scene's first token is any choice


@task(name="pathway decoding", task_run_name="decode {unit.slug}", **PART)
def pathway_decoding(study: Study, unit: Unit) -> dict[str, Any]:
    """Decode the recorded decisions from each layer, and read each layer through the lens."""
    return carry_out(decoding.run, study, alias_of(unit), unit, open_results(study))


@task(name="pathway attribution", task_run_name="attribute {unit.slug}", **PART)
def pathway_attribution(study: Study, unit: Unit) -> dict[str, Any]:
    """Attribute the scenes' decisions to features, and set each to 0."""
    return carry_out(attribution.run, study, alias_of(unit), unit, open_results(study))


@task(name="pathway reading", **STEP)
def pathway_reading(study: Study) -> None:
    """What the three say, as tables and a picture."""
    store = open_results(study)
    unit = decoding.unit(study, store)
    decoded = store.read("decodability", [unit.key])
    read = store.read("lens", [unit.key]).to_pandas()
    shown = ["layer", "grouping", "inputs", "auc", "low", "high", "gain", "gain_low", "gain_high"]
    show_table(
        f"{study.name}-decodability",
        decoded.select([*shown, "n_stop", "n_bet", "reason"]).to_pylist(),
        "How well the coming decision is decoded from each layer (AUC)",
    )
    features = None
    if work := attribution.unit(study):
        features = store.read("attribution", [work.key]).to_pandas()
        agreed = agreement(features).astype(object)
        show_table(
            f"{study.name}-attribution",
            agreed.where(agreed.notna(), None).to_dict("records"),
            "How first-order attribution agrees with setting each feature to 0",
        )
        record = store.record("attribution", work.key)
        decided = record.facts.get("decided", {}) if record else {}
        if low := [f"{scene} ({p:.2f})" for scene, p in decided.items() if p < _RARELY]:
            text = f"- The first token rarely makes the decision in {', '.join(low)}."
            print(text)
            show_markdown(f"{study.name}-attribution-notes", text, "What to read with care")
    picture = reading_figure(decoded.to_pandas(), read, features)
    keep_picture(store, "pathway-reading", picture, "What each layer holds of the decision")
