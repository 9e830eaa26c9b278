"""Differences with known answers, and the section on models small enough for a CPU."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.differences import Measured, difference
from bench.precision import measured, precision, work_of
from bench.programs.base import Unavailable
from bench.settings import Settings
from pitboss.models.loading import LoadedModel


def run(clean: float, patched: list[float], logits: list[float], decision: str) -> Measured:
    return Measured(
        np.array([clean]), np.array([patched]), torch.tensor([logits]), [(1,)], [decision]
    )


def test_differences_are_those_of_probabilities_shifts_and_logits() -> None:
    ours = run(0.1, [1.2, -0.4], [3.0, 4.0], "stop")
    theirs = run(0.0, [1.0, 0.2], [3.0, 4.5], "bet")
    found = difference(ours, theirs)
    changes = [0.768525 - 0.731059, 0.549834 - 0.401312]
    assert found["p_stop"]["mean_change"] == pytest.approx(np.mean(changes), rel=1e-3)
    assert found["p_stop"]["largest_change"] == pytest.approx(changes[1], rel=1e-3)
    assert found["p_stop"]["largest_change_unpatched"] == pytest.approx(0.524979 - 0.5, rel=1e-3)
    shifts = found["log_odds_shift"]  # 1.1 and -0.5 where they are 1.0 and 0.2
    assert shifts["effect_rms"] == pytest.approx(np.sqrt((1 + 0.04) / 2), rel=1e-3)
    assert shifts["error_rms"] == pytest.approx(np.sqrt((0.01 + 0.49) / 2), rel=1e-3)
    assert shifts["error_largest"] == pytest.approx(0.7)
    assert (shifts["clear_effects"], shifts["clear_effects_of_other_sign"]) == (2, 1)
    assert found["first_logits"]["mean_relative_error"] == pytest.approx(
        0.5 / np.hypot(3, 4.5), 1e-3
    )
    assert found["first_tokens_changed"]["changed"] == 0
    assert found["decisions_changed"]["share"] == 1


def test_shipped_models_decide_scenes_in_every_format_that_runs(
    lab: LoadedModel, settings: Settings
) -> None:
    made = precision(lab, settings)
    assert made["weights"] == "shipped" and not made["failed"]
    if not torch.cuda.is_available():
        assert "8-bit matrix products" in made["formats"]["fp8"]["error"]
    safe, risky = made["formats"]["float32"]["unpatched_p_stop"]
    assert 0.3 < safe < 0.7 and 0.3 < risky < 0.7  # as lab/planted.json has them
    found = made["differences"]["bfloat16 against float32"]
    assert found["decisions_changed"]["rows"] == 64
    assert 0 < found["p_stop"]["mean_change"] < 0.02
    assert found["log_odds_shift"]["effect_rms"] > 5 * found["log_odds_shift"]["error_rms"]


def test_random_weights_are_compared_by_first_tokens(tiny: LoadedModel, settings: Settings) -> None:
    made = precision(tiny, replace(settings, shape="llama-8b"))
    assert made["weights"] == "random"
    found = made["differences"]["bfloat16 against float32"]
    assert "decisions_changed" not in found and found["first_tokens_changed"]["rows"] == 16
    assert 1e-4 < found["first_logits"]["mean_relative_error"] < 0.05


def test_a_format_that_cannot_run_says_so(tiny: LoadedModel, settings: Settings) -> None:
    if torch.cuda.is_available():
        pytest.skip("8-bit products may run here")
    work = work_of(tiny, replace(settings, shape="llama-8b"))
    with pytest.raises(Unavailable, match="8-bit matrix products"):
        measured(tiny, "fp8", work)
