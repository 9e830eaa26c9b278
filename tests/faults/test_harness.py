"""Three rounds of the fault harness; `make faults` does fifty (docs/operating.md)."""

import json
import os
import subprocess
import sys
from pathlib import Path

from deployments.settings import ROOT
from tests.faults.harness import PREPARED
from tests.faults.patched import prepare

# A process of its own: it forks, which one that has served a test session must not.
ROUNDS = """
import json, sys
from pathlib import Path
from tests.faults.harness import run
print(json.dumps(run(Path(sys.argv[1]), 3, 7, faults=2)))
"""


def test_whatever_happens_the_end_is_the_same(tmp_path: Path) -> None:
    prepare(tmp_path / PREPARED)
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    same, faults = json.loads(done.stdout.splitlines()[-1])
    assert same == 3, done.stdout
    assert sum(faults.values()) > 6, faults  # six children were hit, and folders were damaged
