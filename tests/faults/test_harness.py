"""Three rounds of the fault harness; `make faults` does fifty (docs/operating.md)."""

import json
import os
import subprocess
import sys

from deployments.settings import ROOT

# A process of its own: it forks, which one that has served a test session must not.
ROUNDS = "from tests.faults.harness import run; import json; print(json.dumps(run(3, 7, faults=2)))"


def test_whatever_happens_the_end_is_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    same, faults = json.loads(done.stdout.splitlines()[-1])
    assert same == 3, done.stdout
    assert sum(faults.values()) > 6, faults  # six children were hit, and folders were damaged
