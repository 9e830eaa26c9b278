"""Where what the house knows of its floor is kept, whatever directory somebody works in."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HISTORY = "history.jsonl"
PILOTS = "pilots.json"


def house_folder() -> Path:
    """PITBOSS_HOME, or `.pitboss` in the repository."""
    return Path(os.environ.get("PITBOSS_HOME") or ROOT / ".pitboss")


def floor_folder() -> Path:
    """`floor` in the house's folder; it need not exist yet."""
    return house_folder() / "floor"
