"""Every figure of a study at full size is a readable picture that fits into an artifact."""

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pitboss.report import canvas, effects, figures
from pitboss.report.canvas import LIMIT, RISKY, data_uri, markdown_image
from tests.report import samples

DRAW: dict[str, Callable[[], bytes]] = {
    "outcomes": lambda: figures.outcomes_figure(samples.outcomes()),
    "pathway": lambda: figures.pathway_figure(samples.curve(), "lab-llama"),
    "statistics": lambda: figures.statistics_figure(
        table := samples.statistics(), samples.selection(table).features
    ),
    "effects": lambda: effects.effects_figure(samples.effect_table(), samples.PLANTED, {(5, 1)}),
    "screening": lambda: effects.screening_figure(
        ranked := samples.ranking(), "contrast", {tuple(ranked.loc[3, ["layer", "feature"]])}
    ),
    "words": lambda: figures.words_figure(samples.words()),
}


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def near(png: bytes, colour: str) -> int:
    """Pixels of about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels(png) - wanted).max(axis=2) < 12).sum())


@pytest.mark.parametrize("name", DRAW)
def test_full_size_figures_fit_and_are_the_same_each_time(name: str) -> None:
    png = DRAW[name]()
    assert len(png) <= LIMIT
    assert len(data_uri(png)) < 95_000 and data_uri(png).startswith("data:image/png;base64,")
    height, width, _ = pixels(png).shape
    assert width >= 1000 and 350 <= height <= 900
    assert png == DRAW[name]()


def test_bars_are_as_long_as_the_shares() -> None:
    def games(bankrupt: int) -> bytes:
        row = {"model": "m", "bet_type": "fixed", "components": "G", "aborted": 0}
        rest = {"voluntary_stop": 100 - bankrupt, "round_limit": 0, "stuck": 0}
        return figures.outcomes_figure(pd.DataFrame([{**row, **rest, "bankruptcy": bankrupt}]))

    few, many = near(games(20), RISKY), near(games(60), RISKY)
    legend = near(games(0), RISKY)
    assert (many - legend) / (few - legend) == pytest.approx(3, rel=0.05)


def test_studies_with_one_bet_type_or_three_layers_or_nothing_are_drawn_too() -> None:
    outcomes, curve = samples.outcomes(4), samples.curve()
    few = samples.effect_table(2, n=5)
    table = samples.statistics(30)
    for png in (
        figures.outcomes_figure(outcomes[outcomes["bet_type"] == "variable"]),
        figures.outcomes_figure(outcomes.iloc[:0]),
        figures.pathway_figure(curve[curve["layer"] < 4]),
        figures.pathway_figure(curve.iloc[:0]),
        effects.effects_figure(few),
        effects.effects_figure(few.assign(status="not_testable")),
        figures.statistics_figure(table),
        figures.statistics_figure(table.assign(status="not_tested")),
        figures.words_figure(samples.words().iloc[:0]),
        effects.screening_figure(samples.ranking(40), "shift"),
        effects.screening_figure(samples.ranking(40).iloc[:0], "shift"),
        effects.screening_figure(samples.ranking(40).assign(unchanged=True), "contrast"),
    ):
        assert len(pixels(png)) > 100


def test_planted_features_are_ringed() -> None:
    table = samples.effect_table(5)
    plain, marked = effects.effects_figure(table), effects.effects_figure(table, {(4, 0)})
    assert near(plain, canvas.GREEN) == 0 and near(marked, canvas.GREEN) > 30
    ranking = samples.ranking(40)
    first = [tuple(pair) for pair in ranking[["layer", "feature"]].head(5).to_numpy().tolist()]
    plain = effects.screening_figure(ranking, "contrast")
    marked = effects.screening_figure(ranking, "contrast", first)
    assert near(plain, canvas.GREEN) == 0 and near(marked, canvas.GREEN) > 30


def test_the_axis_names_the_test_that_was_used() -> None:
    table = samples.effect_table(2)
    named = {effects.effects_figure(table.assign(test=test))
             for test in ("fisher", "stratified", "paired", "sequential")}  # fmt: skip
    assert len(named) == 4


def test_a_picture_that_cannot_be_small_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "LIMIT", 2000)
    with pytest.raises(canvas.PitbossError, match="over 2,000"):
        figures.pathway_figure(samples.curve())


def test_markdown_holds_the_picture_and_its_description() -> None:
    assert markdown_image(b"\x89PNG", "Stops by layer").startswith("![Stops by layer](data:image")
