"""Patching, Exp2: one task is one chunk of features of one layer, or the shared baseline."""

from typing import Any

from prefect import task

from pitboss.experiments import effects as experiment
from pitboss.experiments import patching
from pitboss.experiments.units import Unit
from pitboss.report.figures import effects_figure
from pitboss.report.tables import strongest_effects
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_table
from tasks.model import carry_out
from tasks.policies import PART, STEP
from tasks.study import open_results


@task(name="feature chunk", task_run_name="patch {unit.slug}", **PART)
def feature_chunk(study: Study, unit: Unit) -> dict[str, Any]:
    """Answer both prompts under each value of each feature of the chunk, all trials."""
    return carry_out(patching.run, study, study.patching.model, unit, open_results(study))


def show_checkpoint(study: Study, unit: Unit) -> None:
    """The checkpoint after a chunk: each feature's stop rates under each value."""
    rows = experiment.checkpoint_rows(study, open_results(study), unit)
    show_table(f"{study.name}-chunk-{unit.slug}", rows, f"Chunk {unit.slug}, finished and stored")


@task(name="effects", **STEP)
def effects(study: Study) -> None:
    """Test every feature: its safe against its risky value, and each against the baseline."""
    store = open_results(study)
    part = experiment.run(study, store)
    tested = store.read("effects", [part.key]).to_pandas()
    show_table(
        f"{study.name}-effects",
        strongest_effects(tested),
        "The strongest effects of safe against risky values on stopping",
        rest=part.path,
    )
    compared = [cell._asdict() for cell in experiment.readers_compared(study, store)]
    store.write_json("readers.json", compared)
    show_table(
        f"{study.name}-readers",
        [
            {
                "prompt": cell["prompt"],
                "original-exp2 reads": cell["old"],
                f"{study.patching.reader} reads": f"{cell['read']} {cell['reason']}".strip(),
                "responses": cell["responses"],
            }
            for cell in compared
        ],
        "How the original study's keyword reader and this study's reader see the same responses",
    )
    known = experiment.known_answers(study)
    picture = effects_figure(tested, planted=sorted(known["causal"]), null=sorted(known["null"]))
    keep_picture(store, "effects", picture, "Effect of each feature on stopping, by layer")
