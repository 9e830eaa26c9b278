"""Rows for the store's tests, made from a number so that any process makes the same ones."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from pitboss.store import Store, part_key, table_of

SETTINGS: dict[str, Any] = {
    "name": "night",
    "seed": 7,
    "features": {"gate": "sae_lens", "layers": [1, 2], "min_abs_d": 0.3},
}


def words(*names: object) -> str:
    """Text that compresses badly, so that files have sizes that tests can reason about."""
    return hashlib.sha256("/".join(map(str, names)).encode()).hexdigest()


def identity(number: int) -> dict[str, Any]:
    return {"chunk": number, "seed": 7}


def key(number: int) -> str:
    return part_key(f"llama/L{number:02d}", identity(number))


def trial(number: int, row: int, **changes: Any) -> dict[str, Any]:
    return {
        "key": f"{number}/{row:05d}",
        "model": "pitboss/lab-llama",
        "role": "feature",
        "matched": None,
        "phase": "discovery",
        "prompt": "exp2/safe",
        "scene": "exp2/safe",
        "balance": 140,
        "highest": 10,
        "prompt_sha256": words("prompt"),
        "arm": "safe",
        "layer": number,
        "feature": row,
        "value": 0.5 + row,
        "mode": "delta",
        "positions": "prompt_last",
        "trial": 0,
        "seed": 7,
        "noise": f"n/{number}/{row}",
        "response": words(number, row),
        "n_tokens": 5,
        "finish": "eos",
        "reader": "menu/1",
        "decision": "bet",
        "amount": 10,
        "reason": None,
        "read_start": 0,
        "read_end": 1,
        **changes,
    }


def trials(number: int, rows: int = 40) -> pa.Table:
    return table_of("trials", [trial(number, row) for row in range(rows)])


def store(root: Path, **changes: Any) -> Store:
    return Store.create(root, {**SETTINGS, **changes})


def commit(here: Store, number: int, rows: int = 40, **changes: Any) -> Any:
    table = table_of("trials", [trial(number, row, **changes) for row in range(rows)])
    return here.commit("trials", key(number), table, identity=identity(number))


def parquet_files(here: Store) -> list[Path]:
    return sorted((here.path / "parts").rglob("*.parquet"))
