"""The study a run is about: read, checked and announced before anything starts."""

from pathlib import Path
from typing import NamedTuple

from prefect import task

from pitboss.errors import BadInput
from pitboss.experiments.patching.declaration import FILE as DECLARATION
from pitboss.experiments.patching.declaration import as_markdown, declare
from pitboss.experiments.preflight import preflight
from pitboss.experiments.runtime.study import open_store
from pitboss.folders import results_folder
from pitboss.store import Store
from pitboss.studies.announce import announce
from pitboss.studies.loading import load_study
from pitboss.studies.model import Study
from tasks.artifacts import show_markdown
from tasks.lane import hold_lane
from tasks.policies import STEP

ROOT = Path(__file__).resolve().parent.parent
ANNOUNCEMENT = "announcement.md"


class Opened(NamedTuple):
    """A study that may be worked on, and the folder its results go to."""

    study: Study
    store: Store


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


@task(name="check and announce", **STEP)
def check_and_announce(study: Study) -> None:
    """Refuse what cannot work, then say and store what will run and what will be tested."""
    preflight(study, results_root())
    declared = declare(study)
    text = f"{announce(study).as_markdown()}\n{as_markdown(declared)}"
    print(text)
    store = open_results(study)
    store.write_json(DECLARATION, declared)
    store.write_bytes(ANNOUNCEMENT, text.encode())
    show_markdown(f"{study.name}-announcement", text, f"What study {study.name} runs")


def begin(path: str) -> Opened:
    """What every flow does first.

    Raises:
        BadInput: The study cannot be carried out; nothing has started.
        Busy: Another living process is at work on this lane.
        Mismatch: The results folder was made with other settings.
    """
    hold_lane()
    study = read_study(path)
    check_and_announce(study)
    return Opened(study, open_results(study))
