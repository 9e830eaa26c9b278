"""Words, Exp3: what the features found causal are about."""

from typing import Any

from prefect import task

from pitboss.experiments.runtime.context import Lane
from pitboss.experiments.runtime.unit import Unit
from pitboss.experiments.words import contexts, descriptions
from pitboss.experiments.words import experiment as words
from pitboss.report.figures import words_figure
from pitboss.store import PartRef, Store
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_table
from tasks.model import carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results

ALL_FEATURES = "all"


@task(name="word analysis", task_run_name="words {unit.slug}", **PART)
def word_analysis(study: Study, unit: Unit) -> dict[str, Any]:
    """Tokens by decoder row and words by response."""
    return carry_out(words.run, study, study.words.model, unit, open_results(study))


@task(name="feature contexts", task_run_name="words {unit.slug}", **PART)
def feature_contexts(study: Study, unit: Unit) -> dict[str, Any]:
    """The places in stored texts where each causal feature is most active."""
    return carry_out(contexts.run, study, study.words.model, unit, open_results(study))


@task(name="describe layer", task_run_name="words {unit.slug}", **PART)
def describe_layer(study: Study, unit: Unit) -> dict[str, Any]:
    """Have a language model describe the causal features of one layer."""
    store, alias = open_results(study), descriptions.writer(study)
    if alias is None:  # a server writes
        return descriptions.run(None, study, store, unit).as_dict()

    def write(lane: Lane, store: Store, unit: Unit, slots: int | None) -> PartRef:
        return descriptions.run(lane, study, store, unit, slots)

    return carry_out(write, study, alias, unit, store)


@task(name="word tables", **STEP)
def word_tables(study: Study, unit: Unit) -> None:
    """The words that differ most between safe-value and risky-value responses."""
    store = open_results(study)
    found = store.read("words", [unit.key]).to_pandas()
    pooled = found[found["scope"] == ALL_FEATURES]
    strongest = pooled.reindex(pooled["z"].abs().sort_values(ascending=False).index)
    shown = ["prompt", "word", "rate_safe", "rate_risky", "log_odds", "z", "q_responses"]
    show_table(
        f"{study.name}-words",
        strongest[shown].to_dict("records"),
        "Words by how much they differ between safe-value and risky-value responses",
        rest="words.parquet",
    )
    picture = words_figure(pooled)
    keep_picture(store, "words", picture, "Words of safe-value and of risky-value responses")
