"""The plan, and how much its experiments ask for."""

from pathlib import Path

from pitboss.experiments.registry import load_study, plan_of
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.jobs import Work
from pitboss.floor.planning.pilots import PilotRecord
from pitboss.floor.planning.stated import Stated, read_stated
from pitboss.studies.model import Study
from pitboss.studies.workload import Workload

STUDIES = Path(__file__).parents[2] / "studies"
KIND = "NVIDIA A100 80GB"
LLAMA = "meta-llama/Llama-3.1-8B"


def plan_study() -> Study:
    return load_study(STUDIES / "plan.yaml")


def workloads(study: Study) -> list[Workload]:
    return [each for experiment in plan_of(study, None) for each in experiment.workload()]


def plan_figures() -> Stated:
    return read_stated(STUDIES / "floors" / "plan-figures.yaml")


def pilot(experiment: str, speed: float, day: int = 1, model: str = LLAMA) -> PilotRecord:
    return PilotRecord(KIND, experiment, model, speed, f"2026-01-{day:02}T00:00:00+00:00", "test")


def plan_work(*pilots: PilotRecord, figures: bool = True, study: Study | None = None) -> Work:
    """The plan's work, with the plan's own figures for what no pilot timed."""
    study = study or plan_study()
    stated = plan_figures() if figures else None
    return study_work(study, workloads(study), [KIND], pilots, stated)
