"""A wrong setting is refused by name, with what would fit; nothing starts."""

from typing import Any

import pytest

from pitboss.errors import BadInput
from pitboss.experiments.registry import parse_study

from .conftest import change


def refused(settings: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as refusal:
        parse_study(settings)
    assert "nothing has started" in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("patching.trials", -20, "patching.trials: should be greater than or equal to 1"),
        ("patching.trials", 0, "patching.trials"),
        ("patching.trials", "20", 'patching.trials: should be a whole number (given: "20")'),
        ("patching.trials", True, "patching.trials: should be a whole number (given: true)"),
        ("patching.trials", 10**9, "less than or equal to 1000000"),
        ("patching.full_response", "yes", 'should be true or false (given: "yes")'),
        ("patching.chunk", 101, "patching.chunk"),
        ("patching.prompts", [], "patching.prompts"),
        ("patching.prompts", ["exp0/planned"], "exp2/risky, exp2/safe"),
        ("patching.prompts", ["exp2/safe", "exp2/safe"], "named twice: exp2/safe"),
        ("patching.values", ["safe", "baseline"], "'safe' or 'risky'"),
        ("patching.mode", "replace", "'delta', 'reconstruct' or 'reconstruct_only'"),
        ("patching.reader", "keywords", "menu, original-exp0"),
        ("patching.states", {"count": "twelve"}, "patching.states.count: should be a whole number"),
        ("patching.states", 12, "should be a section with keys such as count, held_out, trials"),
        ("games.prompt", "exp2/safe", "exp0/planned, exp0/role, exp2/game, exp5/original"),
        ("games.prompt", "exp5/original", "variable/BASE"),
        ("games.conditions", ["variable/MG"], "'GM'"),
        ("games.conditions", [], "games.conditions"),
        ("games.conditions", ["fixed/G", "fixed/G"], "named twice"),
        ("games.conditions", "some", "should be 'all', 'fixed' or 'variable' or a list"),
        ("games.conditions", ["fixed/G", 3], "games.conditions.1: should be a text (given: 3)"),
        ("games.models", [], "games.models"),
        ("games.models", "llama", "games.models: should be a list"),
        ("games.repetitions", 2.5, "games.repetitions"),
        ("games.token_limits", {"lama": 10}, "do not play: lama"),
        ("games.sampling", {"max_new_tokens": 5, "min_new_tokens": 6}, "exceeds"),
        ("games.sampling", {"top_p": 0.0}, "games.sampling.top_p"),
        ("games.sampling", {"temperature": float("nan")}, "games.sampling.temperature"),
        ("games.sampling", {"temperature": 0.0}, "retries must be 0, not 3"),
        ("features.layers", [0, 1, -1], "features.layers.2"),
        ("features.layers", [0, 1, 1], "named twice: 1"),
        ("features.layers", [], "features.layers"),
        ("features.layers", 9, "features.layers: should be a list of layers such as [9, 10], or a"),
        ("features.layers", "all", "or a range such as 1-31"),
        ("features.layers", "3-1", "runs backwards"),
        ("features.layers", "0-4", "has no SAE for [4]"),
        ("features.layers", "0-99999999", "no model has more than 42 layers"),
        ("features.gate", "none", "'relu', 'sae_lens' or 'authors'"),
        ("features.fdr", 1.0, "features.fdr"),
        ("features.include", {4: [1]}, "not in layers: [4]"),
        ("features.include", {1: [5, 5]}, "named twice: 5"),
        ("features.include", {1: "five"}, "features.include.1: should be a list"),
        ("features.include", "causal", "should be 'none' or 'planted' or a mapping"),
        ("pathway.max_games", 49, "below the quotas"),
        ("screening.features", "some", "'selected' or 'all'"),
        ("screening.prompts", ["exp0/planned"], "argues before it decides"),
        ("screening.prompts", ["exp2/none"], "exp2/risky, exp2/safe"),
        ("screening.values", ["safe"], "rank_by: contrast needs two values"),
        ("screening.layers", 9, "should be a list of layers"),
        ("screening.min_decided_mass", 1.5, "screening.min_decided_mass"),
        ("screening.chunk", 0, "screening.chunk"),
        ("screening.width", 0, "screening.width"),
        ("patching.confirm", 5, "a screening in bank and confirm (such as top 2,000) go together"),
        ("patching.bank", "screening", "a screening in bank and confirm"),
        ("patching.confirm", "best 5", "should be a number, or words such as top 2,000"),
        ("patching.confirm", "top 2,0", "should be a number, or words such as top 2,000"),
        ("patching.confirm", "top 0", "patching.confirm"),
        ("words.prior", 0.0, "words.prior"),
    ],
)
def test_a_wrong_setting_of_an_experiment_is_refused_and_named(
    settings: dict[str, Any], path: str, value: Any, says: str
) -> None:
    change(settings, f"experiments.{path}", value)
    message = refused(settings)
    assert says in message
    assert f"experiments.{path.split('.')[0]}" in message


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("models.llama.id", "pitboss/lab-lama", "pitboss/lab-llama"),
        ("models.llama.sae", "llama-scope", "llama-scope-lxr-8x"),
        ("models.llama.sae", "llama-scope-lxr-8x", "models.llama: SAE release llama-scope-lxr-8x"),
        ("models", {}, "models: "),
        ("experiments", {}, "experiments: "),
        ("experiments", ["games"], "experiments: should be a mapping"),
        ("engine.dtype", "float16", "'float32' or 'bfloat16'"),
        ("engine.width", 0, "engine.width: should be greater"),
        ("quality", {"readable": 1.5}, "quality.readable: should be less"),
        ("quality", {"after": 0}, "quality.after: should be greater"),
        ("quality", {"readible": 0.5}, "did you mean readable?"),
        ("seed", -1, "seed: should be greater"),
        ("name", "demo/../other", "name: should be small letters, digits and hyphens"),
        ("name", "Demo", "name: should be small letters"),
        ("name", "-demo", "name: should be small letters"),
        ("name", "", "name: should be small letters"),
        ("name", "demo\n", "name: should be small letters"),
    ],
)
def test_a_wrong_setting_of_the_study_is_refused_and_named(
    settings: dict[str, Any], path: str, value: Any, says: str
) -> None:
    change(settings, path, value)
    assert says in refused(settings)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("modles", "did you mean models?"),
        ("experiments.games.repetition", "did you mean repetitions?"),
        ("experiments.games.sampling.top", "allowed are temperature, top_k, top_p"),
        ("experiments.patching.controls.random", "allowed are random_features, "),
        ("experiments.words.contexts.tops", "did you mean top?"),
        ("models.llama.sea", "did you mean sae?"),
        ("floor.pool", "did you mean pools?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones(
    settings: dict[str, Any], path: str, says: str
) -> None:
    settings["floor"] = {}
    change(settings, path, 1)
    message = refused(settings)
    assert f"{path}: unknown key" in message and says in message


@pytest.mark.parametrize("field", ["models", "experiments", "seed", "name"])
def test_a_missing_field_is_named(settings: dict[str, Any], field: str) -> None:
    del settings[field]
    assert f"{field}: is missing" in refused(settings)


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"kind": "gamez"}, "games.kind: there is no kind 'gamez'; did you mean games? use one of"),
        ({"models": ["llama"]}, "games.kind: is missing; use one of games, selection, pathway"),
        ({"kind": 3}, "games.kind: there is no kind '3'"),
        ({"kind": "games"}, "games.models: is missing"),
        ("games", 'experiments.games: should be a section with keys such as kind (given: "games")'),
        (None, "experiments.games: should be a section"),
    ],
)
def test_what_is_no_section_of_an_experiment_is_refused(
    settings: dict[str, Any], section: object, says: str
) -> None:
    settings["experiments"]["games"] = section
    assert says in refused(settings)


@pytest.mark.parametrize("name", ["Games", "my games", "-games", "", "g" * 41, 1])
def test_an_experiments_name_is_small_letters_digits_and_hyphens(
    settings: dict[str, Any], name: object
) -> None:
    settings["experiments"][name] = settings["experiments"]["games"]
    assert f"experiments.{name}" in refused(settings)


@pytest.mark.parametrize("confirm", [2000, "top 2000", "top 2,000", " top  2,000 "])
def test_what_is_to_be_confirmed_may_be_said_in_words(
    settings: dict[str, Any], confirm: object
) -> None:
    settings["experiments"]["patching"] |= {"bank": "screening", "confirm": confirm}
    assert parse_study(settings).experiments["patching"].confirm == 2000


def test_screening_finds_candidates_for_mode_delta_only(settings: dict[str, Any]) -> None:
    settings["experiments"]["patching"] |= {
        "bank": "screening",
        "confirm": 10,
        "mode": "reconstruct",
    }
    assert "computes mode delta" in refused(settings)


def test_greedy_trials_are_no_replications(settings: dict[str, Any]) -> None:
    patching = settings["experiments"]["patching"]
    patching["sampling"] = {"temperature": 0.0, "max_new_tokens": 24}
    assert "20 trials are one" in refused(settings)
    patching["trials"] = 1
    assert parse_study(settings).experiments["patching"].sampling.greedy


def test_a_group_of_conditions_is_half_the_design(settings: dict[str, Any]) -> None:
    settings["experiments"]["pathway"]["conditions"] = "variable"
    conditions = parse_study(settings).experiments["pathway"].resolved_conditions
    assert len(conditions) == 32 and {c.bet_type for c in conditions} == {"variable"}


@pytest.mark.parametrize(
    "outside", ["lab/../../some.json", "../some.json", "/etc/some.json", "lab//../some.json"]
)
def test_an_imported_table_lies_in_the_repository(settings: dict[str, Any], outside: str) -> None:
    settings["experiments"]["features"] |= {"imported": {"path": outside}}
    assert "features.imported.path" in refused(settings)
