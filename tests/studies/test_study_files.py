"""Study files: those that are shipped, what a file may look like, and how it is read."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pitboss.errors import BadInput
from pitboss.experiments.registry import Study, load_study, parse_study, settings_types
from pitboss.games.conditions import ALL_CONDITIONS

from .conftest import STUDIES

SHIPPED = sorted(path.stem for path in STUDIES.glob("*.yaml"))


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_study_is_valid_and_named_like_its_file(name: str) -> None:
    assert load_study(STUDIES / f"{name}.yaml").name == name


@pytest.mark.parametrize("name", ["demo", "plan"])
def test_the_plan_and_its_small_version_have_every_kind_of_experiment(name: str) -> None:
    study = load_study(STUDIES / f"{name}.yaml")
    assert {each.kind for each in study.experiments.values()} == set(settings_types())
    assert study.experiments["games"].resolved_conditions == ALL_CONDITIONS


def test_the_plan_is_the_plan() -> None:
    plan = load_study(STUDIES / "plan.yaml")
    assert plan.models["llama"].id == "meta-llama/Llama-3.1-8B"
    assert plan.models["gemma"].id == "google/gemma-2-9b-it"
    games, features, pathway, patching = (
        plan.experiments[name] for name in ("games", "features", "pathway", "patching")
    )
    assert games.repetitions == 50 and games.models == ["llama", "gemma"]
    assert features.layers == pathway.layers == list(range(1, 32))
    assert (features.per_layer, patching.trials) == (300, 20)
    assert (pathway.bankruptcies, pathway.stops) == (25, 25)
    sampling = games.sampling_for("gemma")
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0.7, 50, None)
    assert (sampling.max_new_tokens, sampling.min_new_tokens) == (1024, 10)
    assert games.sampling_for("llama").max_new_tokens == 512


@pytest.mark.parametrize("name", ["legacy", "legacy-delta"])
def test_a_study_whose_reader_makes_decisions_up_is_not_stopped_for_them(name: str) -> None:
    assert load_study(STUDIES / f"{name}.yaml").quality is None


def test_a_study_comes_back_from_its_json_unchanged(settings: dict[str, Any]) -> None:
    settings["experiments"]["features"]["include"] = {2: [7, 9]}
    study = parse_study(settings)
    assert Study.model_validate_json(study.model_dump_json()) == study
    assert parse_study(study.model_dump(mode="json")) == study


def test_all_problems_are_told_at_once_with_file_and_line(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["experiments"]["patching"]["trials"] = -1
    settings["experiments"]["games"]["sampling"]["temprature"] = 1
    path = written(tmp_path, yaml.safe_dump(settings, sort_keys=False))
    lines = path.read_text(encoding="utf-8").splitlines()
    trials = lines.index("    trials: -1") + 1
    typo = lines.index("      temprature: 1") + 1
    with pytest.raises(BadInput) as refusal:
        load_study(path)
    message = str(refusal.value)
    assert "2 problems" in message and "mine.yaml" in message
    assert f"line {trials}, experiments.patching.trials" in message and "given: -1" in message
    assert f"line {typo}, experiments.games.sampling.temprature" in message


def test_what_is_wrong_with_the_study_as_a_whole_has_its_line_too(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    settings["experiments"]["words"]["patching"] = "games"
    path = written(tmp_path, yaml.safe_dump(settings, sort_keys=False))
    lines = path.read_text(encoding="utf-8").splitlines()
    with pytest.raises(BadInput) as refusal:
        load_study(path)
    line = lines.index("    patching: games") + 1
    assert f"line {line}, experiments.words.patching: 'games' is no other" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: a\nname: b\n", 'line 2, found duplicate key "name"'),
        ("name: [a\n", "line 2, expected ',' or ']'"),
        ("name:\tb: a\n", "line 1, "),
        ("", "as a whole"),
        ("- a\n", "as a whole"),
        ("? [a]\n: b\n", "name: is missing"),
        ("name: !!python/object/apply:os.getcwd []\n", "line 1, could not determine"),
        ("name: \xff", "cannot be read"),
    ],
)
def test_what_is_no_study_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match="broken.yaml") as refusal:
        load_study(path)
    assert says in str(refusal.value)


def test_a_missing_file_is_refused_with_the_files_beside_it() -> None:
    with pytest.raises(BadInput, match="demo.yaml"):
        load_study(STUDIES / "dmo.yaml")


@pytest.mark.parametrize(
    ("wrote", "means"),
    [("010", 10), ("0o10", 8), ("+10", 10), ("1:30", None), ("yes", None), ("1e1", None)],
)
def test_numbers_are_those_of_yaml_1_2(
    settings: dict[str, Any], tmp_path: Path, wrote: str, means: int | None
) -> None:
    text = yaml.safe_dump(settings).replace("repetitions: 5", f"repetitions: {wrote}")
    path = written(tmp_path, text)
    if means is not None:
        assert load_study(path).experiments["games"].repetitions == means
        return
    with pytest.raises(BadInput, match=r"experiments\.games\.repetitions: should be a"):
        load_study(path)


def test_numbers_may_be_written_with_an_exponent(settings: dict[str, Any], tmp_path: Path) -> None:
    text = yaml.safe_dump(settings).replace("max_p: 0.001", "max_p: 1e-3")
    assert "1e-3" in text
    assert load_study(written(tmp_path, text)).experiments["features"].max_p == 0.001


def test_every_section_and_field_explains_itself_in_forms_and_docs() -> None:
    schema = Study.model_json_schema()
    sections = {"Study": schema, **schema["$defs"]}
    explained = sections | {
        f"{section}.{field}": facts
        for section, definition in sections.items()
        for field, facts in definition["properties"].items()
        if field != "kind"  # what its section says
    }
    silent = [name for name, facts in explained.items() if len(facts.get("description", "")) < 15]
    assert silent == [], silent
    assert len(explained) > 100


def test_responses_with_prompts_of_their_own_may_have_another_width(
    settings: dict[str, Any],
) -> None:
    engine = parse_study(settings).engine
    assert [engine.width_of(own_prompts=own) for own in (True, False)] == [128, 128]
    settings["engine"]["games_width"] = 32
    engine = parse_study(settings).engine
    assert [engine.width_of(own_prompts=own) for own in (True, False)] == [32, 128]
