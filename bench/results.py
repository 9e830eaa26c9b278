"""Result files: one for each device and shape, its sections measured together or one by one."""

import json
import re
from pathlib import Path
from typing import Any

from bench.machine import ROOT

FOLDER = ROOT / "bench" / "results"


def default_file(device: str, shape: str, *, quick: bool = False) -> Path:
    """Where the figures of a device and shape are kept; quick ones stand apart from them."""
    name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    return (FOLDER / "quick" if quick else FOLDER) / f"{name}-{shape}.json"


def write_section(path: Path, shape: str, device: str, section: str, figures: Any) -> None:
    """Put one section's figures into a result file; its other sections stay.

    Raises:
        ValueError: The file is of another device or shape.
    """
    held: dict[str, Any] = {"device": device, "shape": shape, "sections": {}}
    if path.exists():
        held = read(path)
    if (held["device"], held["shape"]) != (device, shape):
        raise ValueError(
            f"{path} holds figures of {held['shape']} on {held['device']}, "
            f"not of {shape} on {device}; name another file with --out"
        )
    held["sections"][section] = figures
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".tmp")
    new.write_text(json.dumps(held, indent=1, ensure_ascii=False) + "\n")
    new.replace(path)


def read(path: Path) -> dict[str, Any]:
    """A result file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
