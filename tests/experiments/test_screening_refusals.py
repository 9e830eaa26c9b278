"""A screening that cannot answer says so before it works: late decisions, missing parts."""

import shutil
from pathlib import Path

import pytest

from pitboss.engine.screening import Screen
from pitboss.errors import BadInput, Incomplete
from pitboss.experiments.registry import plan_of
from pitboss.experiments.runtime.carry_out import carry_out
from pitboss.experiments.runtime.choices import choice_tokens, require_decided
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.games.prompts import State, render
from pitboss.models.loading import load_model
from pitboss.store import Store
from tests.experiments.screened import SCENES, after_selection, screen, screening_of
from tests.experiments.small import ALIAS, Whole, small_plan, small_study


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
        choice_tokens(whole.context.loaded, [render(SCENES[0]), games])


def test_a_prompt_that_is_rarely_decided_at_once_is_refused(whole: Whole, tmp_path: Path) -> None:
    plan, context = after_selection(whole, tmp_path, screening={"min_decided_mass": 0.9999})
    with pytest.raises(BadInput, match="min_decided_mass"):
        screen(plan, context)
    assert plan.store.refs("screening") == []


def test_what_it_needs_is_asked_for(whole: Whole, tmp_path: Path) -> None:
    nothing = small_plan(tmp_path)
    with pytest.raises(Incomplete, match="statistics"):
        next(screening_of(nothing).stages(ALIAS))
    selected = plan_of(small_study(screening={"features": "selected"}), nothing.store)
    with pytest.raises(BadInput, match="bank"):
        next(screening_of(selected).stages(ALIAS))
    found, why = selected.known(screening_of(selected), ALIAS)
    assert found == [] and "bank" in why
    ready, context = after_selection(whole, tmp_path / "ready")
    ranking = screening_of(ready).ranking
    with pytest.raises(Incomplete, match="screening"):
        carry_out(ready, ranking, lambda _: context)
    shutil.rmtree(ready.store.path / "parts" / "statistics")
    again = plan_of(ready.study, Store.open(ready.store.path))
    with pytest.raises(Incomplete, match="statistics"):
        next(screening_of(again).stages(ALIAS))
