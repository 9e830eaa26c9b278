"""The real responses, read once for all tests."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2] / "data" / "original"


def _rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def choice_trials() -> list[dict[str, Any]]:
    """7,482 real answers to the two Exp2 scenes."""
    return _rows("llama31_8b_choice_trials.jsonl.gz")


@pytest.fixture(scope="session")
def truncated_reasoning() -> list[dict[str, Any]]:
    """577 real pieces of reasoning that a token limit cut off."""
    return _rows("truncated_reasoning_responses.jsonl.gz")
