"""SAE statistics over the games' decision points, and the selection of features."""

from typing import Any

from prefect import task

from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.selection import experiment as features
from pitboss.report.figures import statistics_figure
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_markdown, show_table
from tasks.model import alias_of, carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results


@task(name="SAE extract", task_run_name="SAE sums {unit.slug}", **PART)
def sae_extract(study: Study, unit: Unit) -> dict[str, Any]:
    """Sum one layer's SAE activations over the last decisions of each group of games."""
    return carry_out(features.run, study, alias_of(unit), unit, open_results(study))


@task(name="feature selection", task_run_name="select features of {alias}", **STEP)
def feature_selection(study: Study, alias: str) -> None:
    """Test all features of all layers, choose, and write the feature bank."""
    store = open_results(study)
    found = features.select_features(study, store, alias)
    selected = store.read("features", [found.features.key])
    shown = ["layer", "rank", "feature", "chosen_by", "d", "q", "d_adjusted", "q_adjusted"]
    shown += ["safe", "risky"]
    show_table(
        f"{study.name}-features-{alias}",
        selected.select(shown).to_pylist(),
        f"{selected.num_rows} features of {alias} to be patched",
        rest=found.features.path,
    )
    show_table(
        f"{study.name}-layers-{alias}",
        found.selection.layers.to_dict("records"),
        f"Features of {alias} tested and selected in each layer",
    )
    if found.statistics is not None:
        statistics = store.read("statistics", [found.statistics.key]).to_pandas()
        picture = statistics_figure(statistics, selected.to_pandas())
        keep_picture(store, f"features-{alias}", picture, f"Effect sizes of {alias}'s features")
    if doubts := [f"- {doubt.what} ({doubt.entries})" for doubt in found.selection.doubts]:
        text = "\n".join(doubts)
        print(text)
        show_markdown(f"{study.name}-doubts-{alias}", text, "Doubtful entries among the selected")
