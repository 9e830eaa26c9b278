"""How much the plan's experiments ask for, written out by hand."""

from pathlib import Path

from pitboss.experiments.registry import load_study
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.jobs import Work
from pitboss.floor.planning.pilots import PilotRecord
from pitboss.floor.planning.stated import Stated, read_stated
from pitboss.studies.model import Study
from pitboss.studies.workload import Shape, Shared, Workload, spread

STUDIES = Path(__file__).parents[2] / "studies"
KIND = "NVIDIA A100 80GB"
LLAMA = "meta-llama/Llama-3.1-8B"
LAYERS = list(range(1, 32))


def workload(
    experiment: str, kind: str, runs: int, shape: Shape, shared: Shared | None = None,
    model: str = "llama",
) -> Workload:  # fmt: skip
    """What the planner asks of a workload; the rest is for the announcement."""
    return Workload(experiment, kind, model, 1, runs, runs, runs, runs, "by hand", shape, shared)


WORKLOADS = [
    workload("games", "games", 3200, Shape(289, 512)),
    workload("games", "games", 3200, Shape(289, 1024), model="gemma"),
    workload("features", "selection", 31 * 32_768, Shape(289, 1, captured=31, saes=1)),
    workload("pathway", "pathway", 1000, Shape(289, 512, captured=31)),
    workload("screening", "screening", 4 * 31 * 32_768, Shape(131, 1, prefixes=2, saes=1)),
    workload(
        "patching", "patching", 794_080, Shape(131, 100, prefixes=2),
        Shared(spread(9300, LAYERS), 80, 100),
    ),
    workload(
        "confirmation", "confirmation", 1_116_000, Shape(131, 100, prefixes=2),
        Shared(spread(9300, LAYERS), 120, 100),
    ),
    workload("words", "words", 9300, Shape(1, 1, prefixes=1, saes=1)),
    workload(
        "clamped", "clamped_games", 6050, Shape(175, 100), Shared(spread(50, LAYERS), 121, 4)
    ),
]  # fmt: skip


def plan_study() -> Study:
    return load_study(STUDIES / "plan.yaml")


def plan_figures() -> Stated:
    return read_stated(STUDIES / "floors" / "plan-figures.yaml")


def pilot(experiment: str, speed: float, day: int = 1, model: str = LLAMA) -> PilotRecord:
    return PilotRecord(KIND, experiment, model, speed, f"2026-01-{day:02}T00:00:00+00:00", "test")


def plan_work(*pilots: PilotRecord, figures: bool = True, study: Study | None = None) -> Work:
    """The plan's work, with the plan's own figures for what no pilot timed."""
    stated = plan_figures() if figures else None
    return study_work(study or plan_study(), WORKLOADS, [KIND], pilots, stated)
