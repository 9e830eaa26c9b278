"""`python -m deployments.down`: stop exactly what `up` started, flow runs included."""

import os
import signal
import sys

from deployments.processes import all_carrying, is_flow_run, stop
from deployments.settings import House, house
from deployments.state import only_one, read_state
from pitboss.errors import PitbossError

FLOW_PATIENCE = 20.0
SERVER_PATIENCE = 20.0


def down(place: House) -> list[str]:
    """Stop the reconciler and the workers, then flow runs, then the server.

    The order matters. The reconciler goes first, or it would schedule the stopped runs again, and
    workers go at once (SIGKILL), or they would start the next waiting run; asked politely they
    would kill their flow runs before these can report. Flow runs get SIGTERM and tell the still
    running server that they ended, so that nothing stays "Running" for ever.

    Returns:
        What was stopped, as sentences.
    """
    if not place.home.is_dir():
        return []
    with only_one(place):
        state = read_state(place)
        if state is None:
            return []
        said = []
        ours = all_carrying(state.token)
        flow_runs = [process for process in ours if is_flow_run(process)]
        by_pid = {started.pid: started for started in state.processes}
        servers = [p for p in ours if p.pid in by_pid and by_pid[p.pid].role == "server"]
        if others := [p for p in ours if p.pid in by_pid and by_pid[p.pid].role == "reconciler"]:
            stop(others, signal.SIGKILL, patience=10)
            said.append("stopped the reconciler")
        workers = [p for p in ours if p.pid in by_pid and by_pid[p.pid].role == "worker"]
        if workers:
            stop(workers, signal.SIGKILL, patience=10)
            said.append(f"stopped {len(workers)} workers")
        if flow_runs:
            killed = stop(flow_runs, signal.SIGTERM, FLOW_PATIENCE)
            said.append(
                f"stopped {len(flow_runs)} processes of flow runs"
                + (f", {killed} of them by force" if killed else "")
                + "; finished work is kept and is not repeated"
            )
        if servers:
            stop(servers, signal.SIGTERM, SERVER_PATIENCE)
            said.append("stopped the server")
        # After the server, which still wrote to them. SIGINT is PostgreSQL's signal to end without
        # waiting for clients; Redis understands it as well.
        roles = ("database", "messages")
        if services := [p for p in ours if p.pid in by_pid and by_pid[p.pid].role in roles]:
            stop(services, signal.SIGINT, SERVER_PATIENCE)
            said.append("stopped the databases")
        # Helpers that any of them had started and that have not ended with it.
        if leftovers := all_carrying(state.token):
            stop(leftovers, signal.SIGTERM, patience=5)
            said.append(f"stopped {len(leftovers)} helper processes")
        place.state_file.unlink()
        return said


def main() -> int:
    os.umask(0o077)
    try:
        said = down(house())
    except PitbossError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(f"  {sentence}" for sentence in said) or "Nothing was running.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
