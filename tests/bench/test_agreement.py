"""Programs that compute the same agree; one that computes something else is caught."""

from dataclasses import replace

import pytest
import torch

from bench.agreement import compare_bfloat16, compare_float32
from bench.check import agreement, disagree
from bench.programs import ALTERNATIVES, Answer, Ours, Program
from bench.programs.continuous import ContinuousBatching
from bench.programs.generate import Generate
from bench.programs.original import Original
from bench.reference import reference
from bench.saes import random_sae
from bench.settings import Settings
from bench.work import greedy, rows_of
from pitboss.engine import Request
from pitboss.models.loading import LoadedModel


class OtherValue(Generate):
    """Sets the features to another value than it was told."""

    name = "other_value"

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        changed = []
        for row in rows:
            (patch,) = row.patches
            changed.append(replace(row, patches=(replace(patch, value=2.01),)))
        return super().answers(changed)


class Broken(Generate):
    """Fails as a program does that runs out of memory."""

    name = "broken"

    def answers(self, rows: list[Request]) -> dict[str, Answer]:
        raise torch.OutOfMemoryError("no room")


def found(
    loaded: LoadedModel, settings: Settings, *kinds: type[Program]
) -> dict[str, dict[str, object]]:
    return agreement(loaded, {1: random_sae(loaded, 1)}, kinds, settings)


def test_every_program_gives_our_logits(lab: LoadedModel, settings: Settings) -> None:
    # Continuous batching takes seconds to start on a CPU; `python -m bench all --quick` has it.
    kinds = [kind for kind in ALTERNATIVES if kind is not ContinuousBatching]
    made = found(lab, settings, *kinds)
    assert {name: one["ok"] for name, one in made.items()} == dict.fromkeys(
        ("original", "generate", "bridge"), True
    )
    assert not disagree(made)


def test_a_program_that_patches_to_another_value_is_caught(
    lab: LoadedModel, settings: Settings
) -> None:
    made = found(lab, settings, Generate, OtherValue)
    assert made["generate"]["ok"] is True and made["other_value"]["ok"] is False
    assert disagree(made)


def test_a_program_that_fails_is_listed_with_its_error(
    lab: LoadedModel, settings: Settings
) -> None:
    made = found(lab, settings, Broken)
    assert made["broken"] == {"error": "OutOfMemoryError: no room"}
    assert not disagree(made)


@pytest.mark.parametrize("mode", ["delta", "reconstruct", None])
def test_programs_equal_the_uncached_computation(tiny: LoadedModel, mode: str | None) -> None:
    saes = {1: random_sae(tiny, 1, 64)}
    rows = rows_of(tiny, 4, greedy(5), prompt_tokens=12, mode=mode, layer=1)  # type: ignore[arg-type]
    other = Original(tiny, saes) if mode == "reconstruct" else Generate(tiny, saes)
    for answers in (Ours(tiny, saes, 8).answers(rows), other.answers(rows)):
        for row in rows:
            expected = reference(tiny, saes, row, answers[row.key].tokens)
            error = (answers[row.key].scores - expected).norm() / expected.norm()
            assert error < 1e-5
            assert tuple(expected.argmax(-1).tolist()) == answers[row.key].tokens


def test_a_known_difference_is_told_and_does_not_fail() -> None:
    ours = {"a": Answer((1, 2), torch.eye(3)[:2])}
    theirs = {"a": Answer((1, 2), torch.eye(3)[:2] * 1.1)}
    assert compare_float32(ours, theirs).fails
    known = compare_float32(ours, theirs, "it leaves something out")
    assert not known.ok and not known.fails and "leaves" in known.figures()["known"]
    assert not disagree({"it": known.figures()})


def test_other_tokens_fail_even_where_the_logits_up_to_there_agree() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    ours = {"a": Answer((1, 2, 3), logits)}
    assert compare_float32(ours, ours).ok
    assert not compare_float32(ours, {"a": Answer((1, 2, 4), logits)}).ok


def test_log_probabilities_are_compared_where_there_are_no_logits() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    tokens = (1, 0, 3)
    ours = {"a": Answer(tokens, logits)}
    right = logits.log_softmax(-1)[[0, 1, 2], list(tokens)]
    assert compare_float32(ours, {"a": Answer(tokens, right)}).ok
    assert not compare_float32(ours, {"a": Answer(tokens, right + 0.01)}).ok


def test_in_bfloat16_each_is_held_against_float32() -> None:
    exact = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    row = Request("a", (1,), "a")

    def off(by: float) -> dict[str, Answer]:
        return {"a": Answer((1, 2), exact * (1 + by))}

    def plain(_: Request, __: tuple[int, ...]) -> torch.Tensor:
        return exact

    alike = compare_bfloat16([row], off(0.06), off(0.05), plain)
    assert alike.ok and alike.error == pytest.approx(0.06) and alike.other_error is not None
    assert alike.other_error == pytest.approx(0.05)
    assert not compare_bfloat16([row], off(0.09), off(0.05), plain).ok


def test_different_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="rows compared differ"):
        compare_float32({"a": Answer((1,), torch.zeros(1, 2))}, {})
