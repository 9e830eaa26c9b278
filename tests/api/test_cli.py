"""The command: what it prints, its JSON, its exit status, and that it stays inside the results."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pitboss.cli import main


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command on the studies made for the tests: (status, output, errors)."""
    monkeypatch.delenv("COLUMNS", raising=False)

    def command(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--results", str(root)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return command


def test_show_prints_the_effect_and_both_answers(run: Any) -> None:
    status, text, _ = run("show", "small", "L1/F7")
    assert status == 0
    for said in ("+0.70 [+0.40, +0.84]", "without the patch: bet", "set to safe (4): stop"):
        assert said in text
    status, text, _ = run("show", "small", "L1/F7", "--json")
    card = json.loads(text)
    assert card["finding"]["causal"] is True and len(card["examples"]) == 2
    assert card["effects"][0]["reason"] is None


def test_effects_lead_with_the_causal_ones_and_name_the_controls(run: Any) -> None:
    status, text, _ = run("effects", "small")
    lines = text.splitlines()
    assert status == 0 and "1 of 2 patched features are causal" in lines[0]
    assert "L1/F7" in lines[2] and "L3/F12" in lines[3]
    assert "random feature: 2 of 40 pass the same test." in text
    assert "L3/F12" not in run("effects", "small", "--causal")[1]
    assert json.loads(run("effects", "small", "--layer", "3", "--json")[1])["findings"][0][
        "feature"
    ] == 12  # fmt: skip


def test_status_says_by_its_exit_status_whether_a_study_is_complete(run: Any) -> None:
    status, text, _ = run("status", "small")
    assert status == 3 and "stopped" in text and "not begun" in text
    status, text, _ = run("status")
    assert status == 0 and all(name in text for name in ("small", "other"))


def test_games_and_compare(run: Any) -> None:
    status, text, _ = run("games", "small")
    assert status == 0 and "30% [11%, 60%]" in text
    status, text, _ = run("compare", "small", "other")
    assert status == 0 and "gained" in text and "patching.trials" in text
    status, text, _ = run("compare", "small", "other", "--json")
    assert json.loads(text)["changes"] == {"gained": 1, "lost": 1, "only b": 1}


@pytest.mark.parametrize("format", ["csv", "parquet", "json"])
def test_export_writes_the_rows_that_meet_every_condition(
    run: Any, root: Path, format: str
) -> None:
    conditions = ("--where", "layer=1", "--where", "decision=stop", "--where", "prompt~SAFE")
    status, text, _ = run("export", "small", "trials", "--format", format, *conditions)
    path = Path(text.strip())
    assert status == 0 and path == root / "small" / "exports" / f"trials.{format}"
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "json": pd.read_json}[format](path)
    assert len(read) == 16 + 3 and set(read["decision"]) == {"stop"}


def test_export_to_standard_output_and_empty_cells(root: Path, capfdbinary: Any) -> None:
    arguments = ["export", "small", "trials", "--out", "-", "--columns", "arm,layer"]
    assert main([*arguments, "--where", "layer=null", "--results", str(root)]) == 0
    rows = list(csv.DictReader(io.StringIO(capfdbinary.readouterr().out.decode())))
    assert len(rows) == 40 and rows[0] == {"arm": "baseline", "layer": ""}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "small", "L1/F8"), "knows nothing about L1/F8"),
        (("show", "no-such", "L1/F7"), "There is no study 'no-such'"),
        (("show", "/etc", "L1/F7"), "outside the results"),
        (("status", "../results"), "outside the results"),
        (("effects", "small", "--top", "-1"), "--top is the number"),
        (("export", "small", "screening"), "its experiment screening makes it"),
        (("export", "small", "trials", "--out", "../../x.csv"), "no file's name"),
        (("export", "small", "trials", "--where", "colour=red"), "no column 'colour'"),
        (("export", "small", "trials", "--where", "layer=red"), "cannot be compared"),
        (("export", "small", "trials", "--where", "__import__('os')"), "is no condition"),
        (("export", "small", "trials", "--columns", "colour"), "has no column 'colour'"),
    ],
)
def test_errors_say_what_where_and_what_next(
    run: Any, arguments: tuple[str, ...], message: str
) -> None:
    status, text, errors = run(*arguments)
    assert (status, text) == (1, "") and message in errors
    assert "Traceback" not in errors
    status, _, errors = run(*arguments, "--json")
    assert status == 1 and message in json.loads(errors)["error"]


def test_wrong_arguments_are_exit_status_2(run: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["shw"])
    assert ended.value.code == 2
    assert "show" in capsys.readouterr().err
