"""Every section runs on a small model; the result file and the picture are what they say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bench.__main__ import main
from bench.decode import best, decode
from bench.exp2 import exp2
from bench.games import config_of, games
from bench.plot import bars, plot
from bench.results import default_file, read, write_section
from bench.screening import screening
from bench.settings import Settings
from pitboss.models.loading import LoadedModel

SAMPLE: dict[str, Any] = {
    "device": "Some GPU",
    "shape": "llama-8b",
    "sections": {
        "decode": {
            "prompt_tokens": 150,
            "new_tokens": 100,
            "limit": {
                "what": "8192 x 8192 x 8192 matrix product, bfloat16",
                "tokens_per_second": 5e4,
            },
            "ours": {"title": "Ours", "tokens_per_second": 4e4, "share_of_limit": 0.8},
            "alternatives": {
                "slow": {"title": "Slow", "tokens_per_second": 20.0, "batch": 1, "batches": {}},
                "fast": {"title": "Fast", "tokens_per_second": 5e3, "batch": 512, "batches": {}},
                "gone": {"title": "Gone", "batches": {"64": {"error": "not available: no wheel"}}},
            },
        }
    },
}


def test_decode_measures_ours_and_the_alternatives(tiny: LoadedModel, settings: Settings) -> None:
    made = decode(tiny, replace(settings, only=("generate",), batches=(4, 8)))
    assert not made["failed"] and made["agreement"]["generate"]["ok"]
    assert made["ours"]["repeats"] == 2 and made["ours"]["rows"] == 32
    alternative = made["alternatives"]["generate"]
    assert set(alternative["batches"]) == {"4", "8"}
    assert alternative["tokens_per_second"] == max(
        one["tokens_per_second"] for one in alternative["batches"].values()
    )
    ours, theirs = (made["in_turn"][name] for name in ("ours", "generate"))
    assert ours["repeats"] == theirs["repeats"] == 2
    assert made["times_best_alternative"] == pytest.approx(
        ours["tokens_per_second"] / theirs["tokens_per_second"], rel=0.01
    )
    assert made["limit"]["tokens_per_second"] > 0


def test_the_best_alternative_is_one_that_ran() -> None:
    found = best(SAMPLE["sections"]["decode"]["alternatives"])
    assert found == {"name": "fast", "batch": 512, "tokens_per_second": 5e3}
    assert best({"gone": {"title": "Gone", "batches": {}}}) is None


def test_projections_follow_from_what_was_measured(tiny: LoadedModel, settings: Settings) -> None:
    made = exp2(tiny, settings)
    for part in ("full_responses", "early_ends"):
        one = made[part]
        assert one["runs"] == one["chunks"] * made["runs_per_chunk"]
        assert one["projected_minutes"] == pytest.approx(
            744_040 / one["runs_per_second"] / 60, rel=1e-2
        )
    assert made["full_responses"]["tokens_per_run"] == 100
    assert made["early_ends"]["tokens_per_run"] < 3


def test_games_are_played_and_projected(tiny: LoadedModel, settings: Settings) -> None:
    made = games(tiny, settings)
    assert made["games"] == 4 and 4 <= made["responses"] <= 8
    assert made["mean_response_tokens"] > 50
    assert made["projected_minutes"] > 0


def test_games_are_no_wider_than_their_rows(lab: LoadedModel, settings: Settings) -> None:
    def sizes(settings: Settings) -> tuple[int, int | None, int | None]:
        config = config_of(lab, settings, 640)
        return config.width, config.micro_batches, config.slots

    assert sizes(settings) == (16, 1, 4)
    assert sizes(replace(settings, width=512, games=100, slots=70)) == (96, 1, 70)
    two = replace(settings, width=512, games=900, slots=800, engine={"micro_batches": 2})
    assert sizes(two) == (416, 2, 800)


def test_screening_counts_every_decision(tiny: LoadedModel, settings: Settings) -> None:
    made = screening(tiny, settings)
    assert made["selected"]["decisions"] == 1 * 300 * 2 * 2
    assert made["every_feature"]["decisions"] == 1 * 256 * 2 * 2


def test_sections_of_a_result_file_are_kept_beside_each_other(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    write_section(path, "llama-8b", "GPU", "decode", {"a": 1})
    write_section(path, "llama-8b", "GPU", "exp2", {"b": 2})
    write_section(path, "llama-8b", "GPU", "decode", {"a": 3})
    assert read(path)["sections"] == {"decode": {"a": 3}, "exp2": {"b": 2}}
    with pytest.raises(ValueError, match="name another file"):
        write_section(path, "gemma-9b", "GPU", "decode", {})
    assert default_file("NVIDIA H200", "llama-8b").name == "nvidia-h200-llama-8b.json"


def test_the_command_line_writes_what_a_figure_must_be_told_with(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--quick", "--only", "--threads", "1", "--rows", "8", "--width", "8"]
    assert main(["decode", *options, "--new-tokens", "3", "--out", str(out)]) == 0
    section = read(out)["sections"]["decode"]
    assert section["command"].startswith("python -m bench decode --quick --only")
    assert section["versions"]["torch"] and section["date"] and "commit" in section


def test_agreement_runs_by_itself(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--only", "generate", "--threads", "1", "--width", "8", "--out", str(out)]
    assert main(["agreement", *options]) == 0
    assert read(out)["sections"]["agreement"]["agreement"]["generate"]["ok"]


def test_a_failing_section_fails_the_command(tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    options = ["--quick", "--only", "--threads", "1", "--width", "0", "--out", str(out)]
    assert main(["decode", *options, "--prompt-tokens", "0"]) == 1
    assert "error" in read(out)["sections"]["decode"]


def test_the_picture_shows_every_program(tmp_path: Path) -> None:
    made = bars(SAMPLE)
    assert [bar.label for bar in made] == ["Ours", "Fast", "Slow", "Gone"]
    assert "80.0% of the limit" in made[0].text and "8 ×" in made[1].text
    assert "no wheel" in made[3].text and made[3].rate is None
    source, out = tmp_path / "r.json", tmp_path / "images" / "bench.png"
    source.write_text(json.dumps(SAMPLE))
    plot([source], out)
    with Image.open(out) as image:
        assert image.format == "PNG" and image.width > 600
    with pytest.raises(ValueError, match="no result file"):
        plot([], out)
