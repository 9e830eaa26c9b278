"""Patching, Exp2: one task is one chunk of features of one layer, or the shared baseline."""

from collections.abc import Sequence
from typing import Any

from prefect import task

from pitboss.experiments.patching import confirmation, ladder
from pitboss.experiments.patching import effects as experiment
from pitboss.experiments.patching import experiment as patching
from pitboss.experiments.patching.controls_found import CONTROLS
from pitboss.experiments.runtime.unit import Unit
from pitboss.report.effects import effects_figure
from pitboss.report.tables import control_rows, finding_rows, strongest_effects
from pitboss.store import Store
from pitboss.studies.model import Study
from tasks.artifacts import keep_picture, show_table
from tasks.lane import pool_name
from tasks.model import DoesNotFit, carry_out
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


def left_to_others(chunks: Sequence[Unit]) -> None:
    """At a lane's end: chunks that it could not compute and that nobody else has finished.

    Raises:
        DoesNotFit: There are some; names them.
    """
    if not chunks:
        return
    raise DoesNotFit(
        f"{len(chunks)} chunks do not fit into the memory of this device and are not finished "
        f"elsewhere: {', '.join(chunk.slug for chunk in chunks)}.",
        where=pool_name() or "this process",
        next="Let a lane with more memory join, or free this one; then run the experiment again.",
    )


@task(name="confirmed", **STEP)
def confirmed(study: Study) -> None:
    """Test every candidate in the discovery's direction, and gather what became of each feature."""
    store = open_results(study)
    part = confirmation.test(study, store)
    found = store.read("findings", [part.key]).to_pandas()
    show_table(
        f"{study.name}-findings",
        finding_rows(found),
        "Features found causal, the clearest first, and whether they were found again",
        rest=part.path,
    )


def _show_controls(study: Study, store: Store) -> None:
    """How often the controls would have been counted, beside the count."""
    rows = control_rows(store.read_json(CONTROLS))
    show_table(
        f"{study.name}-controls", rows, "Controls that would have been counted as causal features"
    )


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
    show_table(
        f"{study.name}-ladder",
        ladder.run(study, store),
        "The same runs under the original study's rule and, step by step, under this study's",
    )
    _show_controls(study, store)
    known = experiment.known_answers(study)
    picture = effects_figure(tested, planted=sorted(known["causal"]), null=sorted(known["null"]))
    keep_picture(store, "effects", picture, "Effect of each feature on stopping, by layer")
