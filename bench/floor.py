"""`python -m bench.floor`: several GPUs of one machine sharing chunks, for real.

Lanes in processes of their own, one a GPU, patch random weights in chunks that they take by claims
from a folder. It is shown, each time against the files of one lane alone: how much faster several
are; that a lane gives way to a growing tenant and comes back; that a lane killed in the middle of a
chunk loses nothing. Needs PyTorch, transformers, nvidia-ml-py and psutil, nothing else of ours, no
network. On a CPU (`--devices cpu cpu`) memory and tenant are pretended.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.clock import rounded
from bench.floor_lanes import CPU, Failed, Floor, elapsed, show
from bench.floor_steps import killed, scaling, tenant


def look(devices: Sequence[str]) -> dict[str, Any] | None:
    """Survey the GPUs by NVML and show who uses them; nothing where all is pretended."""
    if set(devices) == {CPU}:
        return None
    from dataclasses import asdict

    from pitboss.floor.memory.survey import survey
    from pitboss.floor.planning.tables import survey_table

    found = survey()
    print(survey_table(found), flush=True)
    return asdict(found)


def visible() -> list[str]:
    """Every GPU that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return named.split(",")
    import pynvml

    pynvml.nvmlInit()
    try:
        return [str(n) for n in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m bench.floor", description=__doc__)
    add = made.add_argument
    add("--devices", nargs="+", help="GPUs by their numbers, or cpu (default: every GPU)")
    add("--shape", default="llama-8b", help="model of bench/shapes.py")
    add("--chunks", type=int, help="(default: 12, or 4 for each device where these are more)")
    add("--features", type=int, default=16, help="of a chunk; each has 80 rows")
    add("--trials", type=int, default=20)
    add("--width", type=int, default=512, help="rows of a matrix product")
    add("--new-tokens", type=int, default=100)
    add("--out", type=Path, default=Path("floor.json"))
    add("--commit", help="what to record where the tree was copied without its repository")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    asked = parser().parse_args(arguments)
    devices = asked.devices or visible()
    names = ("shape", "chunks", "features", "trials", "width", "new_tokens")
    told = {name: getattr(asked, name) for name in names}
    told["chunks"] = asked.chunks or max(12, 4 * len(devices))
    found: dict[str, Any] = {"told": told, "devices": list(devices), "survey": look(devices)}
    steps: dict[str, Callable[[Floor], dict[str, Any]]] = {
        "scaling": scaling, "tenant": tenant, "killed": killed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        floor = Floor(devices, told, Path(home))
        try:
            found["ready"] = floor.start()
            for name, step in steps.items():
                found[name] = step(floor)
        except Failed as error:
            show(f"FAILED: {error}")
            found["error"] = str(error)
        finally:
            for worker in floor.workers:
                worker.kill()
    from bench.machine import commit, versions

    found |= {"versions": versions(), "commit": asked.commit or commit()}
    found["seconds"] = rounded(elapsed())
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    whole = "error" not in found and all(found[name]["same"] for name in steps)
    show(f"{'everything as it should be' if whole else 'NOT as it should be'}; {asked.out}")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
