"""`python -m deployments.up`: server, work pools, workers and deployments; safe to repeat.

What already runs is left alone, what is missing is started. `python -m deployments.down` stops
exactly what was started here.
"""

import argparse
import os
import secrets
import shlex
import signal
import sys
from collections.abc import Sequence

from deployments.api import Api
from deployments.environment import PASSWORD, keep_secrets, secrets_file
from deployments.floor import GPU_POOLS, Pool, this_floor
from deployments.processes import TOKEN, Role, Started, start, stop, tail, wait_until
from deployments.profiles import FLOOR, LAPTOP, NAMES, check_name, environments
from deployments.profiles.services import start_services
from deployments.settings import HOST, House, choose_port, house, port_is_free
from deployments.setup_process import Setup
from deployments.state import Up, only_one, read_state, write_state
from pitboss.errors import BadInput, Incomplete, PitbossError

# The first start creates the database: about 10 s, several times that on a busy machine.
SERVER_PATIENCE = 180.0
WORKER_PATIENCE = 120.0
RECONCILE_SECONDS = "15"
# What the server is told, in this order; workers start as soon as there are pools.
SETUP = ("work pools", "deployments", "automations")


def up(place: House, floor: Sequence[Pool], profile: str = LAPTOP) -> Up:
    """Start what is missing and wait until all of it answers.

    Raises:
        BadInput: The port is taken, prefect.yaml or a pool is wrong, or the profile's programs are
            not installed.
        Incomplete: A process did not start; the message has the end of its log.
    """
    place.prepare()
    with only_one(place):
        state = recorded(place, profile)
        variables = environments(profile, place, state.port)
        env = variables.client | {TOKEN: state.token}
        write_shell_settings(place, env)
        if profile == FLOOR:
            start_databases(place, state)
        api = Api(state.port, env)
        with Setup(env, place, SETUP) as setup:  # imports the flows while the server starts
            start_server(place, state, variables.server | {TOKEN: state.token}, api)
            let_go(place, state, api, floor)
            setup.begin()
            for what in SETUP:
                report(what, setup.next())
                if what == "work pools":
                    for pool in floor:
                        start_worker(place, state, env, pool)
                    start_reconciler(place, state, env)
        wait_for_workers(state, api, floor)
    return state


def recorded(place: House, profile: str) -> Up:
    """What runs already, or a new record.

    Raises:
        BadInput: The house runs with the other profile; its runs are in another database.
    """
    state = read_state(place)
    if state is None:
        return Up(token=secrets.token_hex(16), port=choose_port(), profile=profile)
    if state.profile != profile:
        raise BadInput(
            f"The house runs with the profile {state.profile!r}, not {profile!r}.",
            where=str(place.state_file),
            next="Run `make down` first.",
        )
    return state


def start_databases(place: House, state: Up) -> None:
    def launch(role: Role, name: str, command: list[str], env: dict[str, str]) -> None:
        log = place.logs / f"{name}.log"
        env = env | {TOKEN: state.token}
        remember(place, state, start(role, name, command, env=env, cwd=place.home, log=log))

    start_services(place, state, keep_secrets(place), launch)
    report("databases", "PostgreSQL and Redis of this house")


def start_server(place: House, state: Up, env: dict[str, str], api: Api) -> None:
    if not state.alive("server", "server"):
        if not port_is_free(state.port):
            raise BadInput(
                f"Port {state.port}, where the server ran before, is taken by another program.",
                next="Run `make down`, then `make up`: it will choose a free port.",
            )
        command = [sys.executable, "-m", "deployments.server"]
        log = place.logs / "server.log"
        remember(place, state, start("server", "server", command, env=env, cwd=place.root, log=log))
    wait_until(
        lambda: (state.serves() and api.healthy()) or not state.alive("server", "server"),
        seconds=SERVER_PATIENCE,
    )
    if not state.serves() or not api.healthy():
        raise Incomplete(
            f"The server does not answer.\n{tail(place.logs / 'server.log')}",
            where=str(place.logs / "server.log"),
            next="Run `make down`, correct the cause shown above, then run `make up` again.",
        )
    report("server", f"http://{HOST}:{state.port}")


def let_go(place: House, state: Up, api: Api, floor: Sequence[Pool]) -> None:
    """Stop the workers of GPUs that the floor has no more; what they have begun goes on.

    A campaign without pools of its own takes all that have a worker, so those of an earlier floor
    must not be on the server's record either.
    """
    kept = {pool.name for pool in floor}
    gone = [s for s in state.processes if s.role == "worker" and s.name not in kept]
    stop([p for s in gone if (p := s.process(state.token))], signal.SIGKILL, patience=10)
    state.processes = [s for s in state.processes if s not in gone]
    write_state(place, state)
    for name in api.pools():
        if name.startswith(GPU_POOLS) and name not in kept and api.forget_workers(name):
            report("worker", f"none for {name}, which the floor has no more")


def start_worker(place: House, state: Up, env: dict[str, str], pool: Pool) -> None:
    if state.alive("worker", pool.name):
        return
    command = [sys.executable, "-m", "deployments.worker", "--pool", pool.name]
    log = place.logs / f"worker-{pool.name}.log"
    remember(place, state, start("worker", pool.name, command, env=env, cwd=place.root, log=log))


def start_reconciler(place: House, state: Up, env: dict[str, str]) -> None:
    """Beside the workers: it settles runs whose process is gone (see deployments.reconcile)."""
    if not state.alive("reconciler", "reconciler"):
        command = [sys.executable, "-m", "deployments.reconcile", "--every", RECONCILE_SECONDS]
        log = place.logs / "reconciler.log"
        made = start("reconciler", "reconciler", command, env=env, cwd=place.root, log=log)
        remember(place, state, made)
    report("reconciler", f"looks every {RECONCILE_SECONDS} s for runs whose process is gone")


def wait_for_workers(state: Up, api: Api, floor: Sequence[Pool]) -> None:
    for pool in floor:
        found = wait_until(
            lambda pool=pool: (  # type: ignore[misc]
                api.workers_online(pool.name) > 0 or not state.alive("worker", pool.name)
            ),
            seconds=WORKER_PATIENCE,
        )
        log = next(s.log for s in state.processes if (s.role, s.name) == ("worker", pool.name))
        if not found or not state.alive("worker", pool.name):
            raise Incomplete(
                f"The worker of {pool.name} did not start.\n{tail(log)}",
                where=str(log),
                next="Correct the cause shown above and run `make up` again.",
            )
    report("workers", "one for each of " + ", ".join(pool.name for pool in floor))


def remember(place: House, state: Up, started: Started) -> None:
    """Record a process at once, so that `down` finds it whatever happens next."""
    others = [s for s in state.processes if (s.role, s.name) != (started.role, started.name)]
    state.processes = [*others, started]
    write_state(place, state)


def write_shell_settings(place: House, env: dict[str, str]) -> None:
    """`. .pitboss/env` lets a person's own `prefect` commands talk to this server."""
    names = sorted(name for name in env if name.startswith(("PREFECT_", "PITBOSS_", "DO_NOT")))
    lines = [
        f"export {name}={shlex.quote(env[name])}"
        for name in names
        if name != TOKEN and not any(word in name for word in ("AUTH", "ENCRYPTION", "DATABASE"))
    ]
    if (secret := secrets_file(place)).exists() and PASSWORD in env:
        found = f"sed -n 's/^{PASSWORD}=//p' {shlex.quote(str(secret))}"
        lines.append(f'export {PASSWORD}="$({found})"')
    (place.home / "env").write_text(
        "\n".join([*lines, f"export PATH={shlex.quote(env['PATH'])}\n"])
    )


def how_to_log_in(place: House, profile: str) -> str:
    if profile == LAPTOP:
        return ""
    return f"It asks for the password, which is {PASSWORD} in {secrets_file(place)}\n"


def report(what: str, text: str) -> None:
    print(f"  {what:<12} {text}", flush=True)


def main() -> int:
    os.umask(0o077)
    parser = argparse.ArgumentParser(description="Start server, pools, workers and deployments.")
    parser.add_argument("--profile", default=LAPTOP, help=f"One of {', '.join(NAMES)}.")
    profile = parser.parse_args().profile
    place = house()
    print(f"Starting the house in {place.home}", flush=True)
    try:
        state = up(place, this_floor(), check_name(profile))
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"\nThe UI is at http://{HOST}:{state.port}\n{how_to_log_in(place, profile)}"
        f"For `prefect` commands of your own: . {shlex.quote(str(place.home / 'env'))}\n"
        "Stop everything with: make down"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
