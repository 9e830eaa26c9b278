"""Whether a finished demo left the bytes that it always left.

`python -m tests.golden.compare FOLDER` names the final files of the demo's folder that differ.
`demo-files.json` holds the hash of every final file of the demo as a CPU made it with the locked
libraries. Another kind of processor may round otherwise, and another Parquet library writes other
bytes; there the keys are what must be equal (`test_keys.py`).
"""

import json
import sys
from pathlib import Path

from pitboss.store.files import sha256_of

GOLDEN = Path(__file__).parent / "demo-files.json"


def differences(study: Path) -> list[str]:
    """A line for each final file of a demo's folder that is missing, new or has other bytes."""
    wanted: dict[str, str] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    there = {path.name for path in study.glob("*.parquet")}
    return [
        *(f"{name} is missing" for name in sorted(set(wanted) - there)),
        *(f"{name} is new" for name in sorted(there - set(wanted))),
        *(
            f"{name} has other bytes"
            for name in sorted(there & set(wanted))
            if sha256_of(study / name) != wanted[name]
        ),
    ]


if __name__ == "__main__":
    found = differences(Path(sys.argv[1]))
    print("\n".join(found) or f"All {len(json.loads(GOLDEN.read_text()))} files are as they were.")
    sys.exit(1 if found else 0)
