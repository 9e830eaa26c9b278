"""The study a run is about: read, checked and announced before anything starts."""

import os
from pathlib import Path

from prefect import task

from pitboss.errors import BadInput
from pitboss.experiments.announce import ANNOUNCEMENT, announce, write_announcement
from pitboss.experiments.preflight import preflight
from pitboss.experiments.registry import load_study, plan_of
from pitboss.experiments.runtime.plan import Plan
from pitboss.experiments.runtime.study import open_store
from pitboss.folders import results_folder
from pitboss.store import Store
from pitboss.studies.model import Study
from tasks.artifacts import show_markdown
from tasks.policies import STEP
from tasks.worker import hold_pool

ROOT = Path(__file__).resolve().parent.parent


def results_root() -> Path:
    """Where studies are stored: `results` in the repository, or PITBOSS_RESULTS."""
    return results_folder()


def read_study(path: str) -> Study:
    """Read a study file of this repository.

    Raises:
        BadInput: The path leads out of the repository, or the file is no study.
    """
    return load_study(inside(path, "study", "studies/"))


def inside(path: str, parameter: str, folder: str) -> Path:
    """The file that a parameter names: it comes from whoever may use the API.

    Args:
        folder: Where such files belong.

    Raises:
        BadInput: The path leads out of the repository.
    """
    found = (ROOT / path).resolve()
    if not found.is_relative_to(ROOT):
        raise BadInput(
            f"The {parameter} {path!r} lies outside the repository.",
            where=f"parameter {parameter}",
            next=f"Put the file under {folder} and name it relative to the repository.",
        )
    return found


def open_results(study: Study) -> Store:
    """The study's folder.

    Raises:
        Mismatch: The folder was made with other settings; names the first one.
    """
    return open_store(study, results_root())


def open_plan(study: Study) -> Plan:
    """The study's experiments, bound to its folder of results.

    Raises:
        Mismatch: The folder was made with other settings; names the first one.
    """
    return plan_of(study, open_results(study), secrets=os.environ)


@task(name="check and announce", **STEP)
def check_and_announce(plan: Plan, *, again: bool) -> None:
    """Refuse what cannot work, then say and store what will run and what will be tested.

    Args:
        again: Whether to say it although it has been said of the same settings.
    """
    preflight(plan, results_root())
    announced = announce(plan)
    path = plan.store.path / ANNOUNCEMENT
    if not again and path.is_file() and announced.fingerprint in path.read_text("utf-8"):
        return
    text = write_announcement(plan, announced)
    print(text)
    show_markdown(f"{plan.study.name}-announcement", text, f"What study {plan.study.name} runs")


def begin(path: str, *, again: bool = False) -> Plan:
    """What every flow does first.

    Args:
        again: Announce the study although that was done, as a campaign does.

    Raises:
        BadInput: The study cannot be carried out; nothing has started.
        Busy: Another living process is at work on this pool.
        Mismatch: The results folder was made with other settings.
    """
    hold_pool()
    plan = open_plan(read_study(path))
    check_and_announce(plan, again=again)
    return plan
