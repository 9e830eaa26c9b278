"""The code on the pages that say how to add something runs, and does what they say."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.settings import ROOT
from pitboss.games.prompts import PROMPTS
from pitboss.models.catalogue import MODELS, SAE_RELEASES
from pitboss.store.schemas import KINDS
from tests.api.made import make


@pytest.fixture(autouse=True)
def registries_stay_as_they_are() -> Iterator[None]:
    registries: tuple[dict[str, Any], ...] = (MODELS, SAE_RELEASES, PROMPTS, KINDS)
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.clear()
        registry.update(entries)


def run_page(name: str) -> dict[str, Any]:
    """Run the page's Python blocks one after the other; what they defined."""
    page = (ROOT / "docs" / name).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, f"docs/{name}", "exec"), names)  # the page is ours
    return names


def test_a_model_is_added_and_passes_every_check() -> None:
    made = run_page("add-model.md")
    assert len(made["checks"]) == 2 + 4 + 4 and all(check.ok for check in made["checks"])
    assert made["loaded"].spec.id == "example/my-model"


def test_a_game_is_added_and_played() -> None:
    made = run_page("add-game.md")
    game = made["game"]
    assert game.outcome == "voluntary_stop" and len(game.state.rounds) == 3
    won = sum(r.won for r in game.state.rounds)
    assert game.state.balance == 100 - 3 * 20 + won * 40
    assert "Toss 3: bet $20" in PROMPTS["coin/plain"].build(game.state)[0]


def test_an_intervention_is_added_and_changes_the_decision() -> None:
    odds = run_page("add-intervention.md")["odds"]
    assert abs(odds["mirrored"] - odds["plain"]) > 0.1


def test_a_statistic_is_added_and_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "demo")
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path))
    table = run_page("add-statistic.md")["s"].lengths
    assert len(table) == 4
    # All made-up answers have nine tokens, which is no spread to measure against.
    assert table["p"].isna().all() and set(table["reason"]) == {"no spread to measure against"}
