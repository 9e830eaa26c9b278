"""Screening: one task is one chunk of features of one layer, computed from one token's logits."""

from typing import Any

from prefect import task

from pitboss.experiments.patching import effects
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.screening import experiment, ranking
from pitboss.report.effects import screening_figure
from pitboss.report.tables import leading_features, screened_rows
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_table
from tasks.model import alias_of, carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results


@task(name="screened chunk", task_run_name="screen {unit.slug}", **PART)
def screened_chunk(study: Study, unit: Unit) -> dict[str, Any]:
    """What each value of each feature of the chunk does to each prompt's decision."""
    return carry_out(experiment.run, study, alias_of(unit), unit, open_results(study))


def show_checkpoint(study: Study, unit: Unit) -> None:
    """The checkpoint after a chunk: its largest shifts."""
    screened = open_results(study).read("screening", [unit.key])
    rows = screened_rows(screened.to_pandas())
    show_table(f"{study.name}-screen-{unit.slug}", rows, f"Chunk {unit.slug}, its largest shifts")


@task(name="ranking", **STEP)
def rank_features(study: Study) -> None:
    """Rank all screened features, and write the bank of those that patching is to confirm."""
    store = open_results(study)
    part = ranking.run(study, store)
    ranked = ranking.top(study, store)
    show_table(
        f"{study.name}-ranking",
        leading_features(ranked),
        "The features that move the log odds of stopping most",
        rest=part.path,
    )
    known = effects.known_answers(study)
    picture = screening_figure(
        ranked,
        experiment.section(study).rank_by,
        planted=sorted(known["causal"]),
        null=sorted(known["null"]),
    )
    keep_picture(store, "screening", picture, "What each feature does to the odds of stopping")
