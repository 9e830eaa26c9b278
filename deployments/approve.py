"""`python -m deployments.approve`: read and answer what a gate asks, without the UI.

    python -m deployments.approve show
    python -m deployments.approve show RUN
    python -m deployments.approve answer RUN --option D --share-4 yes --share-2-6-7 yes

The server checks the answer against the form that the run left there, exactly as it does for the
UI: an answer that misses a question is refused, and the run goes on waiting.
"""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from deployments.environment import PASSWORD, read_secrets, secrets_file
from deployments.settings import api_url, house
from deployments.state import read_state
from pitboss.errors import BadInput, PitbossError

SUSPENDED = "Suspended"


def use_this_house() -> None:
    """Talk to the server that `make up` started, unless PREFECT_API_URL says otherwise.

    Raises:
        BadInput: Nothing is up, or the file of passwords is not private.
    """
    place = house()
    if not os.environ.get("PREFECT_API_URL"):
        state = read_state(place)
        if state is None:
            raise BadInput(
                "No server is up.", where=str(place.state_file), next="Start it with `make up`."
            )
        os.environ["PREFECT_API_URL"] = api_url(state.port)
    if PASSWORD not in os.environ and secrets_file(place).exists():
        os.environ[PASSWORD] = read_secrets(secrets_file(place))[PASSWORD]


def waiting(client: Any) -> list[Any]:
    """The gates that wait for an answer, oldest first."""
    from prefect.client.schemas.filters import (
        FlowFilter,
        FlowFilterName,
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateName,
    )

    runs = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=["approve"])),
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(name=FlowRunFilterStateName(any_=[SUSPENDED]))
        ),
    )
    return sorted(runs, key=lambda run: run.created)


def form(client: Any, run_id: UUID) -> tuple[str, dict[str, Any]]:
    """What a run asks: the text above its form, and the form's JSON schema.

    Raises:
        BadInput: There is no such run, or it waits for no answer.
    """
    from prefect.exceptions import ObjectNotFound

    try:
        run = client.read_flow_run(run_id)
    except ObjectNotFound:
        raise BadInput(
            f"There is no run {run_id}.", next="See `show` for those that wait."
        ) from None
    state = run.state
    keys = state.state_details.run_input_keyset if state and state.is_paused() else None
    if not keys:
        raise BadInput(
            f"The run {run.name!r} waits for no answer: it is {state.name if state else 'new'}.",
            where=str(run_id),
            next="See `show` for those that wait.",
        )
    text = client.read_flow_run_input(run_id, keys["description"])
    return json.loads(text), json.loads(client.read_flow_run_input(run_id, keys["schema"]))


def answer(client: Any, run_id: UUID, given: dict[str, Any]) -> str:
    """Hand in an answer.

    Returns:
        The state of the run afterwards.

    Raises:
        BadInput: The server refused the answer; the run goes on waiting.
    """
    result = client.resume_flow_run(run_id, run_input=given)
    if result.status.value != "ACCEPT":
        raise BadInput(
            f"The answer was refused: {result.details.reason}",
            where=str(run_id),
            next="Answer every question with one of its choices.",
        )
    return str(result.state.name if result.state else result.status.value)


def parser_of(schema: dict[str, Any]) -> argparse.ArgumentParser:
    """Options of the command line for each question of a form."""
    parser = argparse.ArgumentParser(prog="python -m deployments.approve answer RUN")
    for key, field in schema["properties"].items():
        if key == "answered_by":
            parser.add_argument("--by", dest=key, default=getpass.getuser(), help="stored")
            continue
        choices = field.get("enum") or ([field["const"]] if "const" in field else None)
        parser.add_argument(
            "--" + key.replace("_", "-"),
            dest=key,
            metavar="|".join(choices) if choices else key.upper(),
            help=field.get("title", key),
        )
    return parser


def show(client: Any, run: str | None) -> None:
    if run is not None:
        text, schema = form(client, UUID(run))
        print(text)
        print(parser_of(schema).format_help())
        return
    for each in waiting(client):
        print(f"{each.id}  {each.name}  since {each.state.timestamp:%Y-%m-%d %H:%M} UTC")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deployments.approve",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=["show", "answer"])
    parser.add_argument("run", nargs="?", help="id of a run that waits")
    known, rest = parser.parse_known_args(arguments)
    try:
        use_this_house()
        from prefect.client.orchestration import get_client

        with get_client(sync_client=True) as client:
            if known.what == "show":
                show(client, known.run)
            elif known.run is None:
                parser.error("answer needs the id of a run")
            else:
                _, schema = form(client, UUID(known.run))
                given = vars(parser_of(schema).parse_args(rest))
                chosen = {key: value for key, value in given.items() if value is not None}
                print(answer(client, UUID(known.run), chosen))
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
