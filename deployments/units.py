"""`python -m deployments.units --out DIR`: the floor profile as systemd units of a user.

They replace `make up PROFILE=floor` on a machine that should start the house by itself after a
reboot. They are units of an ordinary user (`systemctl --user`): nothing here needs root.

Two signals matter. A worker that gets SIGTERM takes its flow runs with it before they can say so;
SIGKILL on the worker alone (KillMode=process) leaves them running, and the next worker and the
reconciler go on from there. PostgreSQL ends without waiting for its clients on SIGINT.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from deployments.environment import keep_secrets
from deployments.floor import this_floor
from deployments.profiles import FLOOR, environments
from deployments.profiles import postgres as postgres_here
from deployments.profiles import redis as redis_here
from deployments.profiles.programs import refuse_root
from deployments.settings import House, choose_port, house
from pitboss.errors import BadInput, PitbossError
from pitboss.store.files import replace_bytes

SERVER_ENV, CLIENT_ENV = "server.env", "client.env"
TARGET = "pitboss.target"
# What the house's processes need of the variables of the shell that generates the units.
WANTED = ("PREFECT_", "PITBOSS_", "HF_", "DO_NOT_TRACK", "PATH", "PYTHONUNBUFFERED")


def units(place: House, secrets: Mapping[str, str], env: Path) -> dict[str, str]:
    """The text of every unit, by file name.

    Args:
        env: The folder of the two environment files.
    """
    python = sys.executable
    databases = ["pitboss-postgres.service", "pitboss-redis.service"]
    after_server = ["pitboss-server.service"]
    client, all_secrets = env / CLIENT_ENV, env / SERVER_ENV
    pools = [f"pitboss-worker@{pool.name}.service" for pool in this_floor()]
    return {
        "pitboss-postgres.service": _service(
            "PostgreSQL of this house", postgres_here.prepare(place, secrets), place,
            more=["KillSignal=SIGINT", "TimeoutStopSec=60"],
        ),
        "pitboss-redis.service": _service(
            "Redis of this house", redis_here.prepare(place, secrets), place
        ),
        "pitboss-server.service": _service(
            "Prefect server of this house", [python, "-m", "deployments.server"],
            place, env=all_secrets, after=databases, more=["TimeoutStopSec=30"],
        ),
        "pitboss-deploy.service": _service(
            "What the server of this house must know", [python, "-m", "deployments.setup"],
            place, env=client, after=after_server,
            restart="on-failure", more=["Type=oneshot", "RemainAfterExit=yes"],
        ),
        "pitboss-worker@.service": _service(
            "Worker of pool %i", [python, "-m", "deployments.worker", "--pool", "%i"],
            place, env=client, after=after_server,
            more=["KillMode=process", "KillSignal=SIGKILL"],
        ),
        "pitboss-reconcile.service": _service(
            "Settles runs whose process is gone",
            [python, "-m", "deployments.reconcile", "--every", "15"],
            place, env=client, after=after_server,
        ),
        TARGET: _target([*databases, *after_server, "pitboss-deploy.service", *pools,
                         "pitboss-reconcile.service"]),
    }  # fmt: skip


def _service(
    what: str,
    command: list[str],
    place: House,
    *,
    env: Path | None = None,
    after: list[str] | None = None,
    restart: str = "always",
    more: list[str] | None = None,
) -> str:
    """One service: restarted whenever it ends, whatever it writes is the owner's alone."""
    # Wants, not Requires: a restart of the server must not take the workers with it.
    ordered = [f"Wants={' '.join(after)}", f"After={' '.join(after)}"] if after else []
    lines = [
        "[Unit]",
        f"Description=Pitboss: {what}",
        f"PartOf={TARGET}",
        *ordered,
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        f"WorkingDirectory={place.root}",
        *([f"EnvironmentFile={env}"] if env else []),
        f"ExecStart={shlex.join(command)}",
        f"Restart={restart}",
        "RestartSec=5",
        "UMask=0077",
        *(more or []),
    ]
    return "\n".join(lines) + "\n"


def _target(members: list[str]) -> str:
    return (
        "[Unit]\nDescription=Pitboss: the whole house\n"
        + "".join(f"Wants={member}\n" for member in members)
        + "\n[Install]\nWantedBy=default.target\n"
    )


def environment_text(env: Mapping[str, str]) -> str:
    """An EnvironmentFile; values in double quotes as systemd reads them.

    Raises:
        BadInput: A value has more than one line.
    """
    lines = []
    for name in sorted(name for name in env if name.startswith(WANTED)):
        if "\n" in env[name]:
            raise BadInput(f"The variable {name} has more than one line.", next=f"unset {name}")
        value = env[name].replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}="{value}"\n')
    return "".join(lines)


def write(place: House, out: Path) -> list[Path]:
    """Prepare the databases' folders and write the units and their two environment files.

    Raises:
        BadInput: This is root, a program is not installed, or the secrets are not private.
    """
    refuse_root()
    place.prepare()
    folder = place.home / "systemd"
    folder.mkdir(mode=0o700, exist_ok=True)
    secrets = keep_secrets(place)
    variables = environments(FLOOR, place, _port(folder / SERVER_ENV))
    for name, env in ((SERVER_ENV, variables.server), (CLIENT_ENV, variables.client)):
        replace_bytes(folder / name, environment_text(env).encode())
    out.mkdir(parents=True, exist_ok=True)
    texts = units(place, secrets, folder)
    for name, text in texts.items():
        replace_bytes(out / name, text.encode(), mode=0o644)
    return [out / name for name in texts]


def _port(written: Path) -> int:
    """The port of the units written before, which may be running, or a free one."""
    if written.exists():
        for line in written.read_text().splitlines():
            name, _, value = line.partition("=")
            if name == "PREFECT_SERVER_API_PORT":
                return int(value.strip('"'))
    return choose_port()


def main() -> int:
    os.umask(0o077)
    parser = argparse.ArgumentParser(description="Write systemd units of the floor profile.")
    parser.add_argument(
        "--out", type=Path, default=Path("~/.config/systemd/user").expanduser(),
        help="Where units go; default is where systemd looks for a user's own.",
    )  # fmt: skip
    try:
        written = write(house(), parser.parse_args().out.resolve())
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(str(path) for path in written))
    print("Start everything with:")
    print(f"  systemctl --user daemon-reload && systemctl --user enable --now {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
