"""Where the house keeps its files and which environment its processes get.

Everything Prefect writes lies under one folder, `.pitboss/` in the repository, so that two
checkouts never share a server and removing the folder removes every trace.

Environment variables read here:
    PITBOSS_HOME     the folder (default: `.pitboss` in the repository).
    PITBOSS_RESULTS  where studies are stored (default: `results` in the repository).
    PITBOSS_PORT     the server's port on the loopback interface. Without it: the first free port
                     from 4200 on. With it: exactly that port, or a clear error.
"""

import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pitboss.errors import BadInput
from pitboss.folders import ROOT, house_folder, results_folder

HOST = "127.0.0.1"
FIRST_PORT = 4200
PORTS_TRIED = 100

# A Prefect setting a user exported for some other server would reach into ours, so all of them are
# dropped except these, which a careful operator sets on purpose (another database, a password, an
# encryption key, more logging).
KEPT = (
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_API_AUTH_STRING",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_SERVER_ENCRYPTION_KEY",
    "PREFECT_LOGGING_LEVEL",
    "PREFECT_MESSAGING_BROKER",
    "PREFECT_MESSAGING_CACHE",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE",
)

# What keeps the server's database small through weeks of runs: events are kept for three days,
# finished flow runs with their logs and artifacts for thirty; a line of a log is cut at 100 kB.

BOUNDED = {
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P3D",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(30 * 24 * 60 * 60),
    "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE": "100000",
}
# Leases of concurrency slots survive a restart of the server.
LEASES = "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE"
LEASES_IN_FILES = "prefect.server.concurrency.lease_storage.filesystem"


@dataclass(frozen=True)
class House:
    """The folders of one checkout's server, workers and results."""

    root: Path
    home: Path
    results: Path

    @property
    def prefect_home(self) -> Path:
        return self.home / "prefect"

    @property
    def storage(self) -> Path:
        """Prefect's cached results: small JSON references to the parts in `results`."""
        return self.home / "cache"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def state_file(self) -> Path:
        """What `make up` started: port, token and processes."""
        return self.home / "up.json"

    def prepare(self) -> None:
        """Create the folders, readable by their owner only.

        Prefect trusts what lies in its storage (a record may name any serializer), so nobody else
        may write there; what lies in the results is nobody else's either.
        """
        for folder in (self.home, self.prefect_home, self.storage, self.logs, self.results):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
        for study in self.results.iterdir():
            if study.is_dir() and not study.is_symlink():
                study.chmod(0o700)


def house(environ: Mapping[str, str] = os.environ) -> House:
    """The house of this checkout, moved by PITBOSS_HOME and PITBOSS_RESULTS."""
    return House(ROOT, house_folder(environ), results_folder(environ))


def api_url(port: int) -> str:
    return f"http://{HOST}:{port}/api"


def process_env(place: House, port: int, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment of server, workers, flow runs and of every Prefect command we call."""
    env = {
        name: value
        for name, value in environ.items()
        if not name.startswith("PREFECT_") or name in KEPT
    }
    return env | {
        "PITBOSS_HOME": str(place.home),
        "PITBOSS_RESULTS": str(place.results),
        "PITBOSS_ROOT": str(place.root),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{environ.get('PATH', os.defpath)}",
        "PREFECT_HOME": str(place.prefect_home),
        "PREFECT_API_URL": api_url(port),
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_LOCAL_STORAGE_PATH": str(place.storage),
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        **BOUNDED,
        LEASES: environ.get(LEASES, LEASES_IN_FILES),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # The UI asks the host that it came from, whatever its name and port are behind a tunnel.
        "PREFECT_SERVER_UI_API_URL": "/api",
        # A server away for two minutes must not fail a run of days that is about to report its end.
        "PREFECT_CLIENT_MAX_RETRIES": "10",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        # The lock file decides what is installed, not a worker.
        "PREFECT_RUNNER_AUTO_INSTALL_DEPENDENCIES": "false",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_CLI_COLORS": "false",
        "PYTHONUNBUFFERED": "1",
    }


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def choose_port(environ: Mapping[str, str] = os.environ) -> int:
    """A free port on the loopback interface.

    Raises:
        BadInput: PITBOSS_PORT is no port or taken, or all ports tried are taken.
    """
    wanted = environ.get("PITBOSS_PORT")
    if wanted:
        if not wanted.isdecimal() or not 0 < int(wanted) < 65536:
            raise BadInput(
                f"PITBOSS_PORT is {wanted!r}, not a port number.",
                next="Set it to a number from 1 to 65535, or unset it.",
            )
        if not port_is_free(int(wanted)):
            raise BadInput(
                f"Port {wanted} is taken by another program.",
                where="PITBOSS_PORT",
                next="Choose another port, or unset PITBOSS_PORT to let Pitboss find a free one.",
            )
        return int(wanted)
    for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
        if port_is_free(port):
            return port
    raise BadInput(
        f"No free port between {FIRST_PORT} and {FIRST_PORT + PORTS_TRIED - 1}.",
        next="Set PITBOSS_PORT to a free port.",
    )
