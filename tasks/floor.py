"""The floor as flows see it: surveys, what is asked about them, and how they are shown."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort

from pitboss.experiments.registry import plan_of
from pitboss.floor.memory.gpus import Survey
from pitboss.floor.memory.headroom import Limits, Standing, write_limits
from pitboss.floor.memory.history import FILE as HISTORY
from pitboss.floor.memory.history import growths, recall
from pitboss.floor.memory.survey import survey as ask_driver
from pitboss.floor.memory.survey_file import read_survey
from pitboss.floor.planning.approval import fingerprint, limits_of, require
from pitboss.floor.planning.decision import FOLDER, Asked
from pitboss.floor.planning.estimates import study_work
from pitboss.floor.planning.options import propose
from pitboss.floor.planning.pilots import FILE as PILOTS
from pitboss.floor.planning.pilots import read_pilots
from pitboss.floor.planning.pool_assignment import seated
from pitboss.floor.planning.stated import read_stated
from pitboss.floor.planning.tables import survey_table
from pitboss.folders import floor_folder as folder_of_the_floor
from pitboss.formats import gb
from pitboss.report.canvas import markdown_image
from pitboss.report.floor import room_picture
from pitboss.store import Store
from pitboss.studies.model import Study
from tasks.artifacts import never_fails, show_markdown
from tasks.pools import GpuPool
from tasks.study import inside, open_results

FLOORS = "studies/floors/"
ARTIFACT = "floor"
VERSIONS_KEPT = 48
SHOWN = timedelta(days=2)


def look(path: str | None) -> Survey:
    """The floor now, or as a survey file of the repository has it.

    Raises:
        BadInput: The path leads out of the repository, the file is no survey, or there is no GPU.
    """
    if path is None:
        return ask_driver()
    return replace(read_survey(inside(path, "survey", FLOORS)), source=path)


def look_again(before: Survey) -> Survey:
    """The floor now, from where an earlier survey was taken from."""
    return look(None if before.live else before.source)


def floor_folder() -> Path:
    """Where the floor's history and the watch's memory are; made where it is missing."""
    folder = folder_of_the_floor()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def question(
    study: Study,
    store: Store,
    run: str,
    number: int,
    survey: Survey,
    figures: str | None,
    reasons: Sequence[str] = (),
) -> Asked:
    """Work out the options on this floor and keep what is asked, for the process that goes on.

    Args:
        run: Id of the flow run. number: How often it asked before, plus one.
        figures: File with a plan's figures for what no pilot timed, if any.
        reasons: Why it is asked again.

    Raises:
        BadInput: What the study spreads over GPUs, or needs for it, fits on none of this floor.
    """
    folder = floor_folder()
    stated = None if figures is None else read_stated(inside(figures, "figures", FLOORS))
    kinds = {gpu.name for gpu in survey.gpus}
    asks = [each for experiment in plan_of(study, None) for each in experiment.workload()]
    work = study_work(study, asks, kinds, read_pilots(folder / PILOTS), stated)
    growth = growths(survey, folder / HISTORY) if survey.live else None
    asked = Asked(fingerprint(store), propose(survey, work, growth), tuple(reasons))
    store.write_json(f"{FOLDER}/asked/{run}-{number}.json", asked.as_json())
    return asked


def remembered(store: Store, run: str) -> tuple[int, Asked | None]:
    """What a flow run asked last and how often it has asked; (0, None) before the first time."""
    number = 0
    while (store.path / f"{FOLDER}/asked/{run}-{number + 1}.json").exists():
        number += 1
    if not number:
        return 0, None
    return number, Asked.from_json(store.read_json(f"{FOLDER}/asked/{run}-{number}.json"))


def approved(study: Study) -> Study:
    """The study as it may run: where it requires an approval, all of it on the approved GPUs.

    From then on the watch closes these GPUs by the margins that were approved.

    Raises:
        BadInput: There is no decision, or it does not hold any more; nothing has started.
    """
    if study.floor.approval == "none":
        return study
    decision = require(open_results(study), look_again)
    write_limits(floor_folder(), limits_of(decision))
    placed = seated(study, decision)
    print(f"Approved on {decision.decided_at}: {placed.floor.pools}")
    return placed


def show_floor(
    survey: Survey,
    seen: Sequence[GpuPool],
    standings: Mapping[str, Standing],
    history: Path,
    limits: Mapping[int, Limits],
) -> None:
    """The floor's state as one artifact: table, and the room over the last days.

    Args:
        limits: By GPU.
    """
    state = {pool.gpu: _state(pool, standings.get(pool.name, Standing.OPEN)) for pool in seen}
    more = {
        gpu: {
            "pool": state.get(gpu, "none"),
            "closes, opens at": f"{gb(its.low)}, {gb(its.restored)}",
        }
        for gpu, its in limits.items()
    }
    table = survey_table(survey, growths(survey, history), more)
    png = room_picture(_room_over_time(survey, history), _limits_shown(limits, state))
    shown = f"{survey.host}, {survey.taken}, source {survey.source}"
    text = "\n\n".join(
        [
            f"## The floor: {shown}",
            table,
            markdown_image(png, "room by GPU over time"),
            "A pool is paused when its GPU has less room than the first of these, and opened again "
            f"from the second on. History: `floor/{history.name}` in the house's folder.",
        ]
    )
    print(table)
    show_markdown(ARTIFACT, text, "The floor's state")
    forget_versions(ARTIFACT, VERSIONS_KEPT)


def _limits_shown(limits: Mapping[int, Limits], pools: Container[int]) -> list[int]:
    """Where pools close and open, if that is the same for all of them."""
    of = {its for gpu, its in limits.items() if gpu in pools} or set(limits.values())
    return [size for its in of for size in (its.low, its.restored)] if len(of) == 1 else []


def _state(pool: GpuPool, standing: Standing) -> str:
    if not pool.paused:
        short = {
            Standing.OPERATORS: "open, room short",
            Standing.PAUSING: "**open, although its room is short**",
        }
        return short.get(standing, "open")
    if standing in (Standing.PAUSED, Standing.RESUMING, Standing.PAUSING):
        return "**paused: room short**"
    return "paused by a person"


def _room_over_time(survey: Survey, history: Path) -> list[tuple[datetime, dict[int, int]]]:
    totals = {gpu.index: gpu.total for gpu in survey.gpus}
    rooms: dict[datetime, dict[int, int]] = {}
    for sighting in recall(history, datetime.now(UTC) - SHOWN):
        if sighting.gpu in totals:
            others = sum(sighting.held.values()) if survey.live else sighting.used
            room = totals[sighting.gpu] - others
            rooms.setdefault(sighting.taken, {})[sighting.gpu] = room
    return sorted(rooms.items())


@never_fails
def forget_versions(key: str, kept: int) -> None:
    """Delete an artifact's versions but the newest, so that frequent looks stay small."""
    with get_client(sync_client=True) as client:
        old = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key])),
            sort=ArtifactSort.CREATED_DESC,
            offset=kept,
            limit=200,
        )
        for artifact in old:
            client.delete_artifact(artifact.id)
