"""Exp1's decisions read layer by layer: by a fit on other games, and by the model's own last step.

The states of the recorded decisions are computed again in one or two passes: at the last prompt
token, from which the decision is decoded, and where the next token decides, at which the logit lens
is read. A prompt that asks for the number of a choice decides there by itself. Behind one that asks
to reason first, the line with the answer is opened (`ANSWER`), and the margin is between the first
tokens of the two ways to go on: what the model would answer if it had to answer now.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import sparse

from pitboss.analysis.decodability import Area, Inputs, area, deal, scores
from pitboss.analysis.lens import lens
from pitboss.engine.architecture import architecture
from pitboss.engine.forward import Forward, cap
from pitboss.errors import BadInput
from pitboss.experiments.pathway.recorded import Recorded
from pitboss.experiments.pathway.settings import ANSWER, GROUPINGS, PathwaySettings
from pitboss.experiments.runtime.choices import BET, STOP, choice_tokens
from pitboss.experiments.runtime.context import ModelContext
from pitboss.experiments.runtime.states import states_by_layer
from pitboss.experiments.runtime.unit import Outcome
from pitboss.games.conditions import Condition
from pitboss.games.prompts import State, render
from pitboss.models.loading import LoadedModel

_WAYS = {BET: " Bet $10", STOP: " Stop"}
_BALANCE = 100  # of the state in which the prompt's style is looked at


class DecisionPoint(NamedTuple):
    """Where the next token makes the decision.

    Attributes:
        after: Tokens behind the prompt.
        tokens: Choice → tokens that make it.
    """

    after: tuple[int, ...]
    tokens: Mapping[str, Sequence[int]]


def read_layers(
    context: ModelContext, settings: PathwaySettings, found: Recorded, slots: int | None = None
) -> Outcome:
    """Compute the states of all recorded decisions, decode and read them.

    Returns:
        Rows of the kinds `decodability` and `lens`.

    Raises:
        BadInput: The prompt's answer cannot be told from its first token.
    """
    loaded, layers = context.loaded, settings.layers
    decisions = found.decisions.sort_values(["game", "round"]).reset_index(drop=True)
    distinct = decisions.drop_duplicates("prompt_sha256")
    place = pd.Index(distinct["prompt_sha256"]).get_indexer(decisions["prompt_sha256"])
    point = decision_point(loaded, settings.prompt, settings.resolved_conditions[0])
    margins = np.zeros((len(decisions), len(layers)))
    at_answer = states_by_layer(context, distinct, layers, slots, point.after)
    for column, (_, states) in enumerate(at_answer):
        margins[:, column] = lens_margins(loaded, states, point.tokens)[place]
    residual = states_by_layer(context, distinct, layers, slots) if settings.residual else None
    rows = decode(
        decisions, found.activations, residual, place, layers=layers, folds=settings.folds
    )
    facts = {"decisions": len(decisions), "states": len(distinct)}
    return Outcome(
        {
            "lens": lens(margins, decisions, model=loaded.spec.id, layers=layers),
            "decodability": rows.assign(model=loaded.spec.id),
        },
        {"device": str(loaded.device), **facts},
    )


def decision_point(loaded: LoadedModel, prompt: str, condition: Condition) -> DecisionPoint:
    """Where a game's prompt is decided by the next token, and by which tokens.

    Raises:
        BadInput: The two answers begin alike, or a line's tokens depend on what follows it.
    """
    shown = render(prompt, State(condition, _BALANCE))
    if shown.menu.style == "choice":
        return DecisionPoint((), choice_tokens(loaded, [shown]))
    line = _tokens(loaded, ANSWER)
    ways = {choice: _tokens(loaded, ANSWER + text) for choice, text in _WAYS.items()}
    first = {choice: ids[len(line) : len(line) + 1] for choice, ids in ways.items()}
    alike = any(ids[: len(line)] != line for ids in ways.values())
    if alike or first[BET] == first[STOP] or not all(first.values()):
        raise BadInput(
            f"The answers {_WAYS[BET]!r} and {_WAYS[STOP]!r} behind {ANSWER!r} are not told apart "
            f"by one token of {loaded.spec.id}.",
            where=f"prompt {prompt}",
            next="Use a prompt that asks for the number of a choice.",
        )
    return DecisionPoint(line, first)


def _tokens(loaded: LoadedModel, text: str) -> tuple[int, ...]:
    return tuple(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


@torch.inference_mode()
def lens_margins(
    loaded: LoadedModel, states: torch.Tensor, tokens: Mapping[str, Sequence[int]]
) -> NDArray[np.float64]:
    """[n] log odds of stopping against betting that the model's last step gives for [n, d] states.

    Its last step is the final norm, the choices' rows of the unembedding and the soft cap. For the
    last layer this is the model's own answer.
    """
    arch = architecture(loaded.model)
    order = [STOP, BET]
    ids = torch.tensor([t for choice in order for t in tokens[choice]], device=loaded.device)
    normed = Forward(arch).norm(states.to(loaded.device, loaded.dtype), arch.norm).float()
    logits = cap(F.linear(normed, arch.unembed[ids].float()), arch.logit_softcap).double()
    stop, bet = logits.split([len(tokens[choice]) for choice in order], dim=1)
    return np.asarray((stop.logsumexp(1) - bet.logsumexp(1)).cpu().numpy(), np.float64)


def decode(
    decisions: pd.DataFrame,
    activations: pd.DataFrame,
    residual: Iterator[tuple[int, torch.Tensor]] | None,
    place: NDArray[np.int64],
    *,
    layers: Sequence[int],
    folds: int,
) -> pd.DataFrame:
    """How well decisions are decoded from each layer, by games and by games and prompts.

    Args:
        decisions: Columns key, game, prompt_sha256, decision, balance, round; one row a decision.
        activations: Rows of the kind `activations`.
        residual: Each layer's streams [states, d_model] in the order of `layers`, or None.
        place: [n] state of each decision.

    Returns:
        Rows of the kind `decodability`, without the model.
    """
    stop = (decisions["decision"] == "stop").to_numpy()
    balance, played = (decisions[name].to_numpy(np.float64) for name in ("balance", "round"))
    baseline = np.column_stack([balance, np.log(balance), played, np.log(played)])
    fold = deal(list(decisions["game"]), stop, folds)
    plain = {g: _scored(baseline, decisions, stop, fold, g) for g in GROUPINGS}
    of_layer = dict(tuple(activations.groupby("layer"))) if len(activations) else {}
    rows = []
    for layer in layers:
        inputs: dict[str, Inputs] = {"sae": _sparse(decisions, of_layer.get(layer))}
        if residual is not None:
            at, states = next(residual)
            assert at == layer
            inputs["residual"] = states.double().numpy()[place]
        for grouping in GROUPINGS:
            common = {
                "layer": layer,
                "grouping": grouping,
                "n_stop": int(stop.sum()),
                "n_bet": int((~stop).sum()),
                "folds": folds,
            }
            rows.append(common | {"inputs": "baseline"} | _columns(plain[grouping], None))
            for name, values in inputs.items():
                scored = _scored(values, decisions, stop, fold, grouping)
                rows.append(common | {"inputs": name} | _columns(scored, plain[grouping]))
    return pd.DataFrame(rows)


def _sparse(decisions: pd.DataFrame, rows: pd.DataFrame | None) -> sparse.csr_array:
    """[decisions, features that ever fired]."""
    if rows is None:
        return sparse.csr_array((len(decisions), 1))
    row = pd.Index(decisions["key"]).get_indexer(rows["decision"])
    mine, row = rows[row >= 0], row[row >= 0]
    ids, column = np.unique(mine["feature"], return_inverse=True)
    shape = (len(decisions), max(len(ids), 1))
    return sparse.csr_array((mine["value"].to_numpy(np.float64), (row, column)), shape=shape)


def _scored(
    inputs: Inputs,
    decisions: pd.DataFrame,
    stop: NDArray[np.bool_],
    fold: NDArray[np.int64],
    grouping: str,
) -> Area | str:
    """The AUC, or why there is none."""
    states = list(decisions["prompt_sha256"])
    games_with = decisions["game"][stop].nunique(), decisions["game"][~stop].nunique()
    if min(games_with) < fold.max() + 1:
        return f"{games_with[0]} games with stops and {games_with[1]} with bets are below the folds"
    found = scores(inputs, stop, fold, states if grouping == "state" else None)
    if isinstance(found, str):
        return found
    return area(found, stop, fold, list(decisions["game"]) if grouping == "game" else states)


def _columns(found: Area | str, baseline: Area | str | None) -> dict[str, Any]:
    if isinstance(found, str):
        return {"reason": found}
    columns: dict[str, Any] = {"auc": found.auc, "low": found.low, "high": found.high}
    if isinstance(baseline, Area):
        low, high = np.nanquantile(found.draws - baseline.draws, [0.025, 0.975])
        columns |= {"gain": found.auc - baseline.auc, "gain_low": low, "gain_high": high}
    return columns
