"""Tables, cards and errors of an opened study, against counts that can be worked out by hand."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import pitboss
from pitboss.api.results import Results
from pitboss.errors import BadInput, Incomplete
from pitboss.store import KINDS, Store
from tests.api.made import BASELINE, GAMES, RUNS, make


@pytest.fixture
def small(root: Path) -> Results:
    opened: Results = pitboss.open("small", root)
    return opened


def test_importing_pitboss_and_opening_a_study_loads_no_tensor_library(root: Path) -> None:
    code = (
        "import sys, pitboss; early = set(sys.modules)\n"
        f"s = pitboss.open('small', {str(root)!r}); s.effects; s.feature(1, 7)\n"
        "heavy = {'torch', 'transformers', 'sae_lens', 'prefect', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert not {'pandas', 'pyarrow', 'numpy'} & early\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_tables_are_attributes_and_changes_to_them_stay_with_the_reader(small: Results) -> None:
    assert len(small.games) == sum(GAMES.values())
    assert small.games["outcome"].value_counts().to_dict() == GAMES
    mine = small.games
    mine["outcome"] = "changed"
    assert set(small.games["outcome"]) == set(GAMES)
    assert len(small.trials) == RUNS * (2 + 2 * 2 * 2)
    assert set(small.kinds) == {
        "games", "features", "trials", "effects", "findings", "tokens", "words",
    }  # fmt: skip
    assert small.settings["experiments"]["patching"]["trials"] == 20
    assert small.controls["false_positive"]["random_feature"]["hits"] == 2
    assert {*KINDS, "settings", "controls"} <= set(dir(small))


def test_whole_numbers_stay_whole_where_some_are_empty(small: Results) -> None:
    trials = small.trials
    assert str(trials["layer"].dtype) == "Int16" and str(trials["amount"].dtype) == "Int32"
    assert trials["layer"].isna().sum() == 2 * RUNS
    assert set(trials["layer"].dropna()) == {1, 3}
    columns = small.table("trials", ["layer", "decision"])
    assert list(columns.columns) == ["layer", "decision"]


def test_what_is_not_there_is_named_with_the_experiment_that_makes_it(small: Results) -> None:
    with pytest.raises(Incomplete, match="no screening: its experiment screening makes it"):
        small.screening  # noqa: B018
    with pytest.raises(Incomplete, match=r"no summary.json: a later step of the campaign"):
        small.summary  # noqa: B018
    with pytest.raises(BadInput, match="No table 'trails'"):
        small.table("trails")
    with pytest.raises(BadInput, match="has no column 'colour'"):
        small.table("trials", ["colour"])
    with pytest.raises(AttributeError, match="Tables: games, decisions"):
        small.trails  # noqa: B018


def test_a_damaged_part_is_never_read(tmp_path: Path) -> None:
    store = make(tmp_path)
    part = store.path / store.refs("games")[0].path
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    opened = Results(Store.open(store.path))
    with pytest.raises(Incomplete, match="no games"):
        opened.games  # noqa: B018


@pytest.mark.parametrize("name", ["../small", "/etc", "small/parts", "no-such-study", "."])
def test_only_studies_below_the_results_are_opened(root: Path, name: str) -> None:
    with pytest.raises(BadInput, match="outside the results|There is no study"):
        pitboss.open(name, root / "small" if name == "../small" else root)


def test_a_link_out_of_the_results_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "small").symlink_to(root / "small")
    with pytest.raises(BadInput, match="outside the results"):
        pitboss.open("small", tmp_path / "results")


def test_a_card_holds_what_the_tables_say(small: Results) -> None:
    card = small.feature("L1/F7")
    assert card.causal is True and card.name == "L1/F7"
    assert card.finding["prompt"] == "exp2/risky"
    assert card.finding["difference"] == pytest.approx((18 - 4) / 20)
    counted = card.arms.set_index(["prompt", "arm"])["stop"].to_dict()
    assert counted == {
        ("exp2/safe", "baseline"): BASELINE["exp2/safe"],
        ("exp2/risky", "baseline"): BASELINE["exp2/risky"],
        ("exp2/safe", "safe"): 16,
        ("exp2/safe", "risky"): 3,
        ("exp2/risky", "safe"): 18,
        ("exp2/risky", "risky"): 4,
    }
    assert len(card.effects) == 6 and len(card.trials) == 4 * RUNS
    assert card.tokens["token"].tolist() == [" stop", " keep", "2"]
    assert card.words["word"].tolist() == ["keep", "red"]
    assert small.feature(3, 12).words.empty and small.feature(3, 12).causal is False
    with pytest.raises(BadInput, match=r"knows nothing about L1/F8.*nearest.*L1/F7, L3/F12"):
        small.feature(1, 8)
    with pytest.raises(BadInput, match="names no feature"):
        small.feature("layer 3")


def test_examples_pair_runs_of_the_same_noise_and_show_a_changed_decision(small: Results) -> None:
    first, second = small.feature(1, 7).examples
    assert (first.prompt, second.prompt) == ("exp2/risky", "exp2/safe")
    # The safe value changes 8 of 20 runs there, the risky one 6.
    assert first.changed and first.arm == "safe" and first.trial == 10
    assert first.decision_unpatched == "bet" and first.decision_patched == "stop"
    trials = small.trials
    same = trials[(trials["prompt"] == first.prompt) & (trials["trial"] == first.trial)]
    unpatched = same[same["role"] == "baseline"]["response"].item()
    patched = same[(same["feature"] == 7) & (same["arm"] == first.arm)]["response"].item()
    assert (first.unpatched, first.patched) == (unpatched, patched)
    assert "Choice:" in first.text


def test_what_a_person_sees_names_the_feature_its_effect_and_both_answers(small: Results) -> None:
    text = repr(small.feature(1, 7))
    for said in ("L1/F7", "causal", "+0.70 [+0.40, +0.84]", "18/20", "' stop'", "I keep what"):
        assert said in text
    assert "findings" in repr(small) and "not patched" not in text


def test_a_control_never_counts_as_its_feature(tmp_path: Path) -> None:
    from tests.api import made

    store = make(tmp_path)
    row = made._run("random_direction", "safe", "exp2/safe", 0, True, (1, 7)) | {"matched": "L1/F7"}
    identity = {"made": "controls"}
    store.commit(
        "trials",
        made.part_key("llama/controls", identity),
        made.table_of("trials", [row]),
        identity=identity,
    )
    card = Results(store).feature(1, 7)
    assert len(card.trials) == 4 * RUNS
    assert pd.concat([card.trials["role"]]).unique().tolist() == ["feature"]
