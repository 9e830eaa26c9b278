"""What is projected from a measured part, and what real responses say about lengths."""

from collections import Counter

import pytest

from bench import exp2, games
from bench.exp2 import Chunks
from bench.games import Table
from bench.responses import (
    ROUNDS,
    decided_after,
    pieces,
    quantile,
    reasoning_tokens,
    spread,
)
from bench.settings import Settings
from pitboss.experiments.patching.workload import patched_runs
from pitboss.experiments.registry import load_study, plan_of
from pitboss.games.prompts import render
from pitboss.models.loading import LoadedModel
from tests.experiments.banks import patching_of


def test_the_experiment_has_as_many_runs_as_the_plans_study_says() -> None:
    assert exp2.total_runs() == 9_300 * 2 * 2 * 20 + 2 * 20 == 744_040
    plan = plan_of(load_study("studies/plan.yaml"), None)
    assert patched_runs(patching_of(plan), 9_300) == exp2.total_runs()


def test_minutes_are_runs_over_rate() -> None:
    assert exp2.projected_minutes(744_040, 380.0) == pytest.approx(32.63, abs=0.01)
    assert games.projected_minutes(100.0) == pytest.approx(3_200 * ROUNDS / 6_000)


def test_a_chunk_is_the_experiments_own(tiny: LoadedModel, settings: Settings) -> None:
    rows = Chunks(tiny, settings).rows(3, early=False)
    assert len(rows) == len({row.key for row in rows}) == settings.chunk * 2 * 2 * 20
    assert Counter(row.noise for row in rows) == Counter(
        {f"{scene}/{t:03d}": settings.chunk * 2 for scene in exp2.SCENES for t in range(20)}
    )
    assert len({row.prompt for row in rows}) == 2
    (values,) = {tuple(sorted({p.value for row in rows for p in row.patches}))}  # type: ignore
    assert len(values) == 2


def test_early_ends_are_spread_as_real_responses_are(tiny: LoadedModel, settings: Settings) -> None:
    counts = decided_after()["risky"]
    drawn = Counter(quantile(counts, spread(i)) for i in range(4_000))
    for tokens, n in counts.items():
        share = n / sum(counts.values())
        assert drawn[tokens] / 4_000 == pytest.approx(share, abs=0.002)
    risky, *_ = Chunks(tiny, settings).rows(0, early=True)
    assert risky.ends is not None
    last = quantile(counts, spread(0))
    assert [risky.ends("1") for _ in range(last)] == [False] * (last - 1) + [True]


def test_real_decisions_are_certain_within_a_few_tokens() -> None:
    found = decided_after()
    assert {scene: sum(counts.values()) for scene, counts in found.items()} == {
        "risky": 3_780,
        "safe": 3_702,
    }
    assert found["safe"] == Counter({2: 3_702})  # the option and the line break behind it
    assert sum(n for tokens, n in found["risky"].items() if tokens > 6) == 15


def test_pieces_are_the_text_and_no_longer_than_words() -> None:
    text = "Round 12: Bet $100, don't_stop\n\nChoose: 1234  x"
    assert "".join(pieces(text)) == text
    assert pieces("Bet $1000, don't\n") == ["Bet", " $", "100", "0", ",", " don", "'t", "\n"]
    assert 100 < len(pieces(render("exp2/risky").text)) < 150


def test_reasoning_lengths_meet_the_recorded_quantiles() -> None:
    lengths = [reasoning_tokens(spread(i)) for i in range(10_000)]
    assert sum(n > 100 for n in lengths) / 10_000 == pytest.approx(0.60, abs=0.01)
    assert sum(n > 250 for n in lengths) / 10_000 == pytest.approx(0.16, abs=0.01)
    assert max(lengths) <= 432


def test_games_play_their_rounds_with_the_real_prompt(tiny: LoadedModel) -> None:
    table = Table(tiny, 200, 64)
    totals = [game.total for game in table.games.values()]
    assert sum(totals) / len(totals) == pytest.approx(ROUNDS, rel=0.03)
    first = table.opening()
    assert len({row.key for row in first}) == 200
    longest = max(table.games.values(), key=lambda game: game.total)
    rows, played = [next(row for row in first if row.key == f"{longest.number}/1")], 0
    while rows:
        played += 1
        assert rows[0].key == f"{longest.number}/{played}"
        assert len(rows[0].prompt) == len(pieces(render(games.PROMPT, longest.state).text))
        rows = list(table.next(rows[0], _generation(rows[0].key)))
    assert played == longest.total


def _generation(key: str):  # type: ignore[no-untyped-def]
    from pitboss.engine import Generation

    return Generation(key, (1, 2), "", "decided")
