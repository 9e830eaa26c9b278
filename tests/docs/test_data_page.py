"""The examples of docs/data.md run, against a study written through the store."""

import re
import shlex
from pathlib import Path

import pytest

from deployments.settings import ROOT
from pitboss.cli import main
from pitboss.cli.command_line import _parser
from pitboss.store import schema_docs
from tests.api.made import make

PAGE = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
STOPS = {
    (2, 48): {"exp2/safe": (16, 3), "exp2/risky": (18, 4)},
    (3, 64): {"exp2/safe": (8, 8), "exp2/risky": (10, 11)},
}
OTHER = {(2, 48): {"exp2/safe": (9, 8), "exp2/risky": (10, 9)}, (3, 64): STOPS[2, 48]}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make(tmp_path, "demo", STOPS)
    make(tmp_path, "other", OTHER, seed=5)
    monkeypatch.setenv("PITBOSS_RESULTS", str(tmp_path))
    return tmp_path


def test_every_python_block_runs_after_the_ones_before_it(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {}
    found = blocks("python")
    assert len(found) >= 9
    for block in found:
        exec(compile(block, "docs/data.md", "exec"), names)  # the page is ours
    said = capsys.readouterr().out
    assert (
        "no persistent: an experiment of kind clamped_games makes it" in said
    )  # the table that is not there yet
    assert "stop | 2\nI keep what I have." in said and "bet | 1\nOnce more" in said
    assert len(names["causal"]) == 1  # type: ignore[arg-type]
    assert (results / "demo" / "exports" / "effects.csv").is_file()


def test_every_command_on_the_page_runs(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(commands) >= 7
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "pitboss"
        assert main(arguments) == (3 if arguments[0] == "status" else 0), line
    assert "gained" in capsys.readouterr().out


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_every_pitboss_command_in_the_documentation_is_one(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    for line in [line.strip() for line in lines if line.strip().startswith("pitboss ")]:
        _parser().parse_args(shlex.split(line, comments=True)[1:])  # exits if it is none


def test_the_page_of_tables_is_the_schema() -> None:
    assert (ROOT / "docs" / "schema.md").read_text(encoding="utf-8") == schema_docs()
