"""Games, for Exp0 and Exp1: one task is one batch."""

from collections.abc import Iterable, Iterator
from typing import Any

from prefect import Task, task

from pitboss.analysis.games import condition_outcomes
from pitboss.experiments.games import experiment as games
from pitboss.experiments.pathway import experiment as pathway
from pitboss.experiments.runtime.quality import Gate
from pitboss.experiments.runtime.unit import Unit
from pitboss.report.figures import outcomes_figure, pathway_figure
from pitboss.report.tables import outcome_rows
from pitboss.store import Store
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_markdown, show_table
from tasks.model import alias_of, carry_out
from tasks.policies import PART, STEP, unless_stored
from tasks.study import open_results


def played(
    part: Task[..., Any], study: Study, store: Store, batches: Iterable[Unit], gate: Gate
) -> Iterator[Unit]:
    """Play batches one after the other and yield each, as long as their responses are of use.

    Raises:
        PoorResponses: They are not; the batches played so far stay.
    """
    for batch in batches:
        unless_stored(part, study, store, batch)
        gate.add(batch)
        yield batch
    gate.end()


@task(name="game batch", task_run_name="games {unit.slug}", **PART)
def game_batch(study: Study, unit: Unit) -> dict[str, Any]:
    """Play one batch of games to their ends."""
    return carry_out(games.run, study, alias_of(unit), unit, open_results(study))


@task(name="game outcomes", task_run_name="outcomes of {alias}", **STEP)
def game_outcomes(study: Study, alias: str) -> None:
    """How the games of one model ended, as a table and as a picture."""
    store = open_results(study)
    keys = [unit.key for unit in games.units(study, alias)]
    columns = ["key", "game", "round", "balance", "bet", "won"]
    decisions = store.read("decisions", keys, columns=columns).to_pandas()
    outcomes = condition_outcomes(store.read("games", keys).to_pandas(), decisions)
    show_table(f"{study.name}-games-{alias}", outcome_rows(outcomes), f"How {alias}'s games ended")
    caption = f"How {alias}'s games ended, by condition"
    keep_picture(store, f"games-{alias}", outcomes_figure(outcomes), caption)


@task(name="pathway batch", task_run_name="games {unit.slug}", **PART)
def pathway_batch(study: Study, unit: Unit) -> dict[str, Any]:
    """Play one batch of games and keep the activations of every round."""
    return carry_out(pathway.run, study, alias_of(unit), unit, open_results(study))


@task(name="pathway analysis", **STEP)
def pathway_analysis(study: Study) -> None:
    """Top features by layer and the curve of the decision, as parts, a table and a picture."""
    store = open_results(study)
    found = pathway.analyse(study, store)
    top = store.read("pathway", [found.features.key]).to_pylist()
    shown = ("layer", "rank", "feature", "d", "q", "mean_stop", "mean_bet")
    show_table(
        f"{study.name}-pathway",
        [{name: row[name] for name in shown} for row in top],
        "Features that differ most between the decisions to stop and to bet, by layer",
        rest=found.features.path,
    )
    curve = store.read("pathway_curve", [found.curve.key]).to_pandas()
    picture = pathway_figure(curve, study.pathway.model)
    keep_picture(store, "pathway", picture, "How the decision forms, by layer and round")
    short = pathway.progress(study, store).shortfall
    notes = [*(f"Short: {sentence}." for sentence in short), *found.notes]
    if notes:
        text = "\n".join(f"- {note}" for note in notes)
        print(text)
        show_markdown(f"{study.name}-pathway-notes", text, "What the pathway could not show")
