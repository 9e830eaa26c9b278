"""A screening that cannot answer says so before it works: late decisions, missing parts."""

import shutil
from pathlib import Path

import pytest

from pitboss.engine.screening import Screen
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.runtime.choices import choice_tokens, require_decided
from pitboss.experiments.runtime.study import open_store
from pitboss.experiments.screening import experiment as screening
from pitboss.experiments.screening import ranking
from pitboss.experiments.selection import experiment as features
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models.loading import load_model
from pitboss.store import Store
from pitboss.studies.model import Study
from tests.experiments.screened import SCENES, after_selection
from tests.experiments.small import ALIAS, Whole, small_study


@pytest.mark.parametrize("model", ["llama", "gemma"])
def test_the_first_token_of_the_labs_models_decides(model: str) -> None:
    loaded = load_model(f"pitboss/lab-{model}")
    prompts = [render(name) for name in SCENES]
    tokens = choice_tokens(loaded, prompts)
    assert {name: [loaded.decode([t]) for t in ids] for name, ids in tokens.items()} == {
        "bet": ["1"],
        "stop": ["2"],
    }
    screen = Screen(
        loaded,
        width=8,
        prompts=[tuple(loaded.encode(prompt.text)) for prompt in prompts],
        choices=tokens,
    )
    decided = screen.unpatched.decided
    assert decided is not None and (decided > 0.99).all() and (decided < 1).all()
    require_decided(screen, prompts, 0.5)
    with pytest.raises(BadInput, match=r"below 0.9999 in exp2/safe \(0.99"):
        require_decided(screen, prompts, 0.9999)


def test_a_prompt_whose_decision_comes_later_is_refused_before_any_work(whole: Whole) -> None:
    with pytest.raises(BadInput, match="argues before it decides"):
        small_study(screening={"prompts": ["exp0/planned"]})
    games = render("exp0/planned", State(ALL_CONDITIONS[0], 100))
    with pytest.raises(BadInput, match=r"first token.*prompt exp0/planned"):
        choice_tokens(whole.lane.loaded, [render(SCENES[0]), games])


def test_a_prompt_that_is_rarely_decided_at_once_is_refused(whole: Whole, tmp_path: Path) -> None:
    lane, store = after_selection(whole, tmp_path, screening={"min_decided_mass": 0.9999})
    with pytest.raises(BadInput, match="min_decided_mass"):
        screening.run(lane, store, screening.units(lane.study, store)[0])
    assert store.refs("screening") == []


def test_what_it_needs_is_asked_for(whole: Whole, tmp_path: Path) -> None:
    study = small_study()
    store = open_store(study, tmp_path)
    with pytest.raises(Incomplete, match="statistics"):
        screening.units(study, store)
    selected = small_study(screening={"features": "selected"})
    with pytest.raises(BadInput, match="bank"):
        screening.units(selected, store)
    without: Study = study.model_copy(update={"screening": None})
    with pytest.raises(BadInput, match="no screening section"):
        screening.units(without, store)
    lane, ready = after_selection(whole, tmp_path / "ready")
    with pytest.raises(Incomplete, match="screening"):
        ranking.run(lane.study, ready)
    shutil.rmtree(ready.path / "parts" / "statistics")
    with pytest.raises(Incomplete, match="statistics"):
        screening.units(lane.study, Store.open(ready.path))
    assert features.selection_key(study, ALIAS)
