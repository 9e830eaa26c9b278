"""Two runs of the same rows held against each other: decisions, log-odds, logits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.clock import rounded

Floats = NDArray[np.float64]

# Effects whose direction is compared; of smaller ones it means little.
_CLEAR = 0.1


@dataclass(frozen=True)
class Measured:
    """The same rows in one number format.

    Attributes:
        clean: [prompts] log-odds of a stop against a bet at each prompt's first token, unpatched.
        patched: [prompts, n] the same under each patch.
        logits: float32 [rows, vocab], the sampled rows' first logits.
        first: The sampled rows' first tokens; an empty one where the response ends at once.
        decisions: What the sampled rows decided; None where texts have no meaning.
    """

    clean: Floats
    patched: Floats
    logits: torch.Tensor
    first: list[tuple[int, ...]]
    decisions: list[str] | None

    @property
    def shift(self) -> Floats:
        """[prompts, n] what each patch adds to the log-odds."""
        return self.patched - self.clean[:, None]


def p_stop(log_odds: Floats) -> Floats:
    """Probability of a stop, given that the token stops or bets."""
    return 1.0 / (1.0 + np.exp(-log_odds))


def difference(ours: Measured, theirs: Measured) -> dict[str, Any]:
    """How far `ours` is from `theirs`, as JSON."""
    change = np.abs(p_stop(ours.patched) - p_stop(theirs.patched))
    clean = np.abs(p_stop(ours.clean) - p_stop(theirs.clean))
    off = (ours.logits - theirs.logits).norm(dim=-1) / theirs.logits.norm(dim=-1)
    found = {
        "p_stop": {
            "mean_change": rounded(float(change.mean())),
            "largest_change": rounded(float(change.max())),
            "largest_change_unpatched": rounded(float(clean.max())),
        },
        "log_odds_shift": _shifts(ours.shift, theirs.shift),
        "first_logits": {
            "mean_relative_error": rounded(float(off.mean())),
            "largest_relative_error": rounded(float(off.max())),
        },
        "first_tokens_changed": _share_changed(ours.first, theirs.first),
    }
    if ours.decisions is not None and theirs.decisions is not None:
        found["decisions_changed"] = _share_changed(ours.decisions, theirs.decisions)
    return found


def _shifts(ours: Floats, theirs: Floats) -> dict[str, Any]:
    """Errors of effects, beside the effects."""
    error, clear = ours - theirs, np.abs(theirs) >= _CLEAR
    size, off = _rms(theirs), _rms(error)
    return {
        "effect_rms": rounded(size),
        "error_rms": rounded(off),
        "error_largest": rounded(float(np.abs(error).max())),
        "error_over_effect": rounded(off / size),
        "clear_effects": int(clear.sum()),
        "clear_effects_of_other_sign": int((np.sign(ours) != np.sign(theirs))[clear].sum()),
    }


def _rms(x: Floats) -> float:
    return float(np.sqrt((x**2).mean()))


def _share_changed(ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    changed = sum(a != b for a, b in zip(ours, theirs, strict=True))
    return {"rows": len(ours), "changed": changed, "share": rounded(changed / len(ours))}
