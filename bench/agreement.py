"""Do the programs compute the same thing? Checked before anything is timed.

In float32 every program must choose the same greedy tokens as ours, and its logits must be within
a relative error of 1e-5 of ours. In bfloat16 programs that are equally right differ by percents
after dozens of blocks; there, ours and the other are each held against a float32 copy of the
model run plainly on the tokens each of them chose, and ours may not be further off than half
again as far as the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bench.programs.base import Answer
from bench.reference import scores_like
from pitboss.engine import Request

FLOAT32_TOLERANCE = 1e-5
BFLOAT16_RATIO = 1.5
# A program that gives log probabilities of single tokens gives few numbers near zero: they are
# compared absolutely, in nats, and in bfloat16 the luck of single roundings needs more room.
SCORE_TOLERANCE = 1e-4
SCORE_RATIO = 3.0

Answers = Mapping[str, Answer]
Plain = Callable[[Request, tuple[int, ...]], torch.Tensor]
"""A float32 computation of the logits behind a row's tokens."""


@dataclass(frozen=True)
class Agreement:
    """One program held against ours.

    Attributes:
        what: How they were compared.
        error: Largest difference of any row, in the terms of `what`; ours' own in bfloat16.
        other_error: In bfloat16 the other program's error against float32, else None.
        ok: Whether they agree.
        known: Why they are known not to, where that is the other program's limitation.
    """

    what: str
    rows: int
    tokens: int
    error: float
    other_error: float | None
    same_tokens: bool
    ok: bool
    known: str | None = None

    @property
    def fails(self) -> bool:
        """Whether the benchmark must stop."""
        return not self.ok and self.known is None

    def figures(self) -> dict[str, Any]:
        return {
            "compared": self.what,
            "rows": self.rows,
            "tokens": self.tokens,
            "error": float(f"{self.error:.3g}"),
            **({} if self.other_error is None else {"its_error": float(f"{self.other_error:.3g}")}),
            "same_tokens": self.same_tokens,
            "ok": self.ok,
            **({"known": self.known} if self.known else {}),
        }


def compare_float32(ours: Answers, theirs: Answers, known: str | None = None) -> Agreement:
    """Programs that both ran in float32."""
    _same_rows(ours, theirs)
    worst = 0.0
    for key, other in theirs.items():
        # The step at which tokens part was still computed from the same text.
        steps = _common(ours[key].tokens, other.tokens) + 1
        expected = scores_like(other, ours[key].scores)[:steps]
        worst = max(worst, _difference(expected, other.scores[:steps]))
    same = _same_tokens(ours, theirs)
    if _gives_logits(theirs):
        what, tolerance = f"logits, relative error under {FLOAT32_TOLERANCE:g}", FLOAT32_TOLERANCE
    else:
        what = f"log probabilities of the tokens, largest difference under {SCORE_TOLERANCE:g}"
        tolerance = SCORE_TOLERANCE
    ok = same and worst < tolerance
    return Agreement(what, len(theirs), _tokens(theirs), worst, None, same, ok, known)


def compare_bfloat16(
    rows: Sequence[Request], ours: Answers, theirs: Answers, plain: Plain, known: str | None = None
) -> Agreement:
    """Programs that ran in bfloat16, each against float32 on its own tokens, mean over rows."""
    _same_rows(ours, theirs)
    own_error = other_error = 0.0
    for row in rows:
        own, other = ours[row.key], theirs[row.key]
        if other.scores.ndim == 1:
            own = Answer(own.tokens, scores_like(Answer(own.tokens, other.scores), own.scores))
        own_error += _off(row, own, plain) / len(rows)
        other_error += _off(row, other, plain) / len(rows)
    if _gives_logits(theirs):
        what, ratio = "logits, relative error", BFLOAT16_RATIO
    else:
        what, ratio = "log probabilities of the tokens, largest difference", SCORE_RATIO
    what += f" against a float32 copy, mean over rows, ours under {ratio:g} x its"
    ok, same = own_error < ratio * other_error, _same_tokens(ours, theirs)
    n = _tokens(theirs)
    return Agreement(what, len(rows), n, own_error, other_error, same, ok, known)


def _off(row: Request, answer: Answer, plain: Plain) -> float:
    return _difference(scores_like(answer, plain(row, answer.tokens)), answer.scores)


def _difference(expected: torch.Tensor, found: torch.Tensor) -> float:
    if found.ndim == 1:
        return float((found - expected).abs().max())
    return float((found - expected).norm() / expected.norm())


def _gives_logits(answers: Answers) -> bool:
    return all(answer.scores.ndim == 2 for answer in answers.values())


def _same_tokens(ours: Answers, theirs: Answers) -> bool:
    return all(ours[key].tokens == answer.tokens for key, answer in theirs.items())


def _tokens(answers: Answers) -> int:
    return sum(len(answer.tokens) for answer in answers.values())


def _common(a: tuple[int, ...], b: tuple[int, ...]) -> int:
    """How many tokens two rows share before they part."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), len(a))


def _same_rows(ours: Answers, theirs: Answers) -> None:
    if not theirs or set(theirs) != set(ours):
        raise ValueError(f"the rows compared differ: {sorted(ours)} and {sorted(theirs)}")
