"""`python -m bench.floor` on two lanes of the CPU, as a bare machine would run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Every process that starts finds these as if they were not installed.
HIDE = """
import sys
NAMES = {"pydantic", "prefect", "sae_lens", "pandas", "pyarrow", "scipy", "statsmodels", "sklearn"}

class Hidden:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in NAMES else self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Hidden(finder) for finder in sys.meta_path]
"""
SMALL = (
    "--devices cpu cpu --shape lab-llama --chunks 4 --features 3 --trials 3 --width 32 "
    "--new-tokens 16"
)


def test_lanes_share_give_way_and_take_over_and_every_file_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(HIDE)
    env = os.environ | {"PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    hidden = subprocess.run([sys.executable, "-c", "import pandas"], env=env, capture_output=True)
    assert hidden.returncode == 1
    out = tmp_path / "floor.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.floor", *SMALL.split(), "--out", str(out)],
        cwd=ROOT, env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert [found[step]["same"] for step in ("scaling", "tenant", "killed")] == [True] * 3
    assert sum(found["scaling"]["all"]["chunks_by_lane"]) == 4
    words = [entry["said"].split()[2] for entry in found["tenant"]["guard"]]
    assert words.index("park") < words.index("return")
    assert found["killed"]["by_lane"] == 0 and found["killed"]["taken_over_after_s"] > 0
    assert "took L" in done.stdout
