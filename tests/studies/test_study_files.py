import pytest
import yaml

from pitboss.errors import BadInput
from pitboss.games.conditions import ALL_CONDITIONS
from pitboss.studies.loading import load_study, parse_study
from pitboss.studies.model import Study

from .conftest import STUDIES


def change(settings, path, value):
    *parents, last = path.split(".")
    for name in parents:
        settings = settings[name]
    settings[last] = value


@pytest.mark.parametrize("name", ["demo", "plan"])
def test_the_shipped_studies_are_valid_and_named_like_their_files(name):
    study = load_study(STUDIES / f"{name}.yaml")
    assert study.name == name
    assert study.games.resolved_conditions == ALL_CONDITIONS


def test_the_plan_is_the_plan():
    plan = load_study(STUDIES / "plan.yaml")
    assert plan.models["llama"].id == "meta-llama/Llama-3.1-8B"
    assert plan.models["gemma"].id == "google/gemma-2-9b-it"
    assert plan.games.repetitions == 50 and plan.games.models == ["llama", "gemma"]
    assert plan.features.layers == plan.pathway.layers == list(range(1, 32))
    assert (plan.features.per_layer, plan.patching.trials) == (300, 20)
    assert (plan.pathway.bankruptcies, plan.pathway.stops) == (25, 25)
    sampling = plan.games.sampling_for("gemma")
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.7, 50, None)
    assert (sampling.max_new_tokens, sampling.min_new_tokens) == (1024, 10)
    assert plan.games.sampling_for("llama").max_new_tokens == 512


@pytest.mark.parametrize("name", ["legacy", "legacy-delta"])
def test_a_study_whose_reader_makes_decisions_up_is_not_stopped_for_them(name):
    assert load_study(STUDIES / f"{name}.yaml").quality is None


def test_a_study_comes_back_from_its_json_unchanged(settings):
    settings["features"]["include"] = {2: [7, 9]}
    study = parse_study(settings)
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert parse_study(study.model_dump(mode="json")) == study


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("patching.trials", -20, "patching.trials"),
        ("patching.trials", 0, "patching.trials"),
        ("patching.trials", "20", "patching.trials"),
        ("patching.trials", True, "patching.trials"),
        ("patching.chunk", 101, "patching.chunk"),
        ("patching.prompts", [], "patching.prompts"),
        ("patching.prompts", ["exp0/planned"], "exp2/risky, exp2/safe"),
        ("patching.prompts", ["exp2/safe", "exp2/safe"], "named twice: exp2/safe"),
        ("patching.values", ["safe", "baseline"], "'safe' or 'risky'"),
        ("patching.mode", "replace", "'delta', 'reconstruct' or 'reconstruct_only'"),
        ("patching.reader", "keywords", "menu, original-exp0"),
        ("patching.model", "gemma", "features.models has only llama"),
        ("words.model", "gemma", "patching.model has only llama"),
        ("pathway.model", "lama", "models has only llama, gemma"),
        ("games.prompt", "exp2/safe", "exp0/planned, exp0/role, exp2/game, exp5/original"),
        ("games.prompt", "exp5/original", "variable/BASE"),
        ("games.conditions", ["variable/MG"], "'GM'"),
        ("games.conditions", [], "games.conditions"),
        ("games.conditions", ["fixed/G", "fixed/G"], "named twice"),
        ("games.conditions", "some", "games.conditions"),
        ("games.models", [], "games.models"),
        ("games.repetitions", 2.5, "games.repetitions"),
        ("games.token_limits", {"lama": 10}, "do not play: lama"),
        ("games.sampling", {"max_new_tokens": 5, "min_new_tokens": 6}, "exceeds"),
        ("games.sampling", {"top_p": 0.0}, "games.sampling.top_p"),
        ("games.sampling", {"temperature": float("nan")}, "games.sampling.temperature"),
        ("games.sampling", {"temperature": 0.0}, "retries must be 0, not 3"),
        ("features.layers", [0, 1, -1], "features.layers"),
        ("features.layers", [0, 1, 1], "named twice: 1"),
        ("features.layers", [], "features.layers"),
        ("features.layers", "3-1", "runs backwards"),
        ("features.layers", "0-4", "has no SAE for [4]"),
        ("features.gate", "none", "'relu', 'sae_lens' or 'authors'"),
        ("features.fdr", 1.0, "features.fdr"),
        ("features.include", {4: [1]}, "not in layers: [4]"),
        ("features.include", {1: [5, 5]}, "named twice: 5"),
        ("pathway.max_games", 49, "below the quotas"),
        ("models.llama.id", "pitboss/lab-lama", "pitboss/lab-llama"),
        ("models.llama.sae", "llama-scope", "llama-scope-lxr-8x"),
        ("models.llama.sae", "llama-scope-lxr-8x", "width 4096"),
        ("engine.dtype", "float16", "'float32' or 'bfloat16'"),
        ("engine.width", 0, "engine.width"),
        ("floor.patching", [], "floor.patching"),
        ("floor.patching", ["gpu 0"], "floor.patching.0"),
        ("floor.games", {"llama": "gpu-0"}, "games.models needs gemma"),
        ("screening.model", "gemma", "features.models has only llama"),
        ("screening.features", "some", "'selected' or 'all'"),
        ("screening.prompts", ["exp0/planned"], "argues before it decides"),
        ("screening.prompts", ["exp2/none"], "exp2/risky, exp2/safe"),
        ("screening.values", ["safe"], "rank_by: contrast needs both values"),
        ("screening.min_decided_mass", 1.5, "screening.min_decided_mass"),
        ("screening.chunk", 0, "screening.chunk"),
        ("screening.width", 0, "screening.width"),
        ("patching.screen", True, "screen: true and confirm"),
        ("patching.confirm", 5, "screen: true and confirm"),
        ("patching.confirm", "best 5", "patching.confirm"),
        ("patching.confirm", "top 2,0", "patching.confirm"),
        ("patching.confirm", "top 0", "patching.confirm"),
        ("floor.screening", "gpu 1", "floor.screening"),
        ("words.prior", 0.0, "words.prior"),
        ("quality", {"readable": 1.5}, "quality.readable"),
        ("quality", {"after": 0}, "quality.after"),
        ("quality", {"readible": 0.5}, "did you mean readable?"),
        ("seed", -1, "seed"),
        ("name", "demo/../other", "name"),
        ("name", "Demo", "name"),
        ("name", "-demo", "name"),
        ("name", "", "name"),
        ("name", "demo\n", "name"),
    ],
)
def test_a_wrong_setting_is_refused_and_named(settings, path, value, says):
    change(settings, path, value)
    with pytest.raises(BadInput) as refusal:
        parse_study(settings)
    assert says in str(refusal.value)
    assert "nothing has started" in str(refusal.value)


@pytest.mark.parametrize("confirm", [2000, "top 2000", "top 2,000", " top  2,000 "])
def test_what_is_to_be_confirmed_may_be_said_in_words(settings, confirm):
    settings["patching"] |= {"screen": True, "confirm": confirm}
    assert parse_study(settings).patching.confirm == 2000


def test_screening_finds_candidates_for_the_same_patches_of_the_same_model_only(settings):
    settings["patching"] |= {"screen": True, "confirm": 10}
    for change, says in (
        ({"patching": settings["patching"] | {"mode": "reconstruct"}}, "computes mode delta"),
        ({"screening": None}, "needs a screening section"),
    ):
        with pytest.raises(BadInput, match=says):
            parse_study(settings | change)
    settings["features"]["models"] = ["llama", "gemma"]
    settings["floor"]["features"]["gemma"] = "gpu-1"
    settings["screening"]["model"] = "gemma"
    with pytest.raises(BadInput, match="patches llama, but screening.model is gemma"):
        parse_study(settings)
    settings["patching"] |= {"screen": False, "confirm": None}
    assert parse_study(settings).screening.model == "gemma"


def test_all_features_have_values_only_from_the_studys_own_statistics(settings):
    settings["features"] |= {
        "include": "none",
        "imported": {
            "path": "lab/some.json",
            "space": "sae",
            "model": "pitboss/lab-llama",
            "sae": "pitboss/lab-llama-scope",
            "gate": "sae_lens",
            "hook_point": "blocks.{layer}.hook_resid_post",
            "token": "prompt_last",
            "d_sae": 256,
        },
    }
    with pytest.raises(BadInput, match="statistics of the study's own games"):
        parse_study(settings)
    settings["screening"]["features"] = "selected"
    assert parse_study(settings).screening.with_mass
    for outside in ("lab/../../some.json", "../some.json", "/etc/some.json", "lab//../some.json"):
        settings["features"]["imported"]["path"] = outside
        with pytest.raises(BadInput, match="path"):
            parse_study(settings)


def test_greedy_trials_are_no_replications(settings):
    settings["patching"]["sampling"] = {"temperature": 0.0, "max_new_tokens": 24}
    with pytest.raises(BadInput, match="20 trials are one"):
        parse_study(settings)
    settings["patching"]["trials"] = 1
    assert parse_study(settings).patching.sampling.greedy


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("gamess", "did you mean games?"),
        ("games.repetition", "did you mean repetitions?"),
        ("games.sampling.top", "allowed are temperature, top_k, top_p"),
        ("models.llama.sea", "did you mean sae?"),
        ("floor.patch", "did you mean patching?"),
    ],
)
def test_an_unknown_key_is_refused_with_the_known_ones(settings, path, says):
    change(settings, path, 1)
    with pytest.raises(BadInput) as refusal:
        parse_study(settings)
    assert f"{path}: unknown key" in str(refusal.value) and says in str(refusal.value)


@pytest.mark.parametrize("section", ["models", "games", "pathway", "patching", "floor", "seed"])
def test_a_missing_section_is_named(settings, section):
    del settings[section]
    with pytest.raises(BadInput, match=f"{section}: is missing"):
        parse_study(settings)


def test_all_problems_are_told_at_once_with_file_and_line(settings, tmp_path):
    settings["patching"]["trials"] = -1
    settings["games"]["sampling"]["temprature"] = 1
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    trials = lines.index("  trials: -1") + 1
    typo = lines.index("    temprature: 1") + 1
    with pytest.raises(BadInput) as refusal:
        load_study(path)
    message = str(refusal.value)
    assert "2 problems" in message and "mine.yaml" in message
    assert f"line {trials}, patching.trials" in message and "given: -1" in message
    assert f"line {typo}, games.sampling.temprature" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b\n", "written twice"),
        ("name: [a\n", "line"),
        ("", "as a whole"),
        ("- a\n", "as a whole"),
        ("? [a]\n: b\n", "cannot be read"),
        ("name: !!python/object/apply:os.getcwd []\n", "cannot be read"),
    ],
)
def test_what_is_no_study_file_is_refused(tmp_path, text, says):
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=says) as refusal:
        load_study(path)
    assert "broken.yaml" in str(refusal.value)


def test_a_missing_file_is_refused_with_the_files_beside_it():
    with pytest.raises(BadInput, match="demo.yaml"):
        load_study(STUDIES / "dmo.yaml")


def test_numbers_may_be_written_with_an_exponent(settings, tmp_path):
    path = tmp_path / "mine.yaml"
    text = yaml.safe_dump(settings).replace("max_p: 0.001", "max_p: 1e-3")
    assert "1e-3" in text
    path.write_text(text, encoding="utf-8")
    assert load_study(path).features.max_p == 0.001


def test_every_field_explains_itself_in_forms_and_docs():
    schema = Study.model_json_schema()
    sections = {"Study": schema, **schema["$defs"]}
    silent = [
        f"{section}.{field}"
        for section, definition in sections.items()
        for field, facts in definition["properties"].items()
        if len(facts.get("description", "")) < 15
    ]
    assert silent == [], silent
    assert sum(len(d["properties"]) for d in sections.values()) > 60


def test_a_group_of_conditions_is_half_the_design(settings):
    settings["pathway"]["conditions"] = "variable"
    conditions = parse_study(settings).pathway.resolved_conditions
    assert len(conditions) == 32 and {c.bet_type for c in conditions} == {"variable"}
