"""Features with a known effect, written into reserved columns of a trained dictionary.

Every planted feature reads a direction in which decision points of games that end in bankruptcy
differ from those of games that are stopped, so that it is selected by the study. What it writes
is chosen: along the direction that raises the odds of stopping (causal by construction), or
orthogonal to it (null by construction).

Planted features come in pairs with one encoder and opposite decoder rows. Both halves always fire
together, so a pair adds exactly nothing to the reconstruction, under every gate; patching one half
breaks the balance and has its full effect. One half of a causal pair makes the safe value stop
more, the other makes it stop less.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from training.dictionary import Dictionary
from training.directions import SCENES, DecisionPoint, log_odds

PAIRS = 6  # per layer and role
EFFECT = 5.0  # log-odds of stopping between safe and risky value, the weaker of the two scenes
NULL_LIMIT = 0.005  # largest change of P(stop) that a null feature may cause


@dataclass(frozen=True, slots=True)
class Groups:
    """Residual vectors of one layer, from games that the model really played.

    Attributes:
        safe_last, risky_last: [n, d], last decision of games stopped / ended in bankruptcy.
        safe_all, risky_all: [n, d], all decisions of these games.
        generated: [n, d], tokens of responses to the Exp2 prompts, which patches also touch.
    """

    safe_last: Tensor
    risky_last: Tensor
    safe_all: Tensor
    risky_all: Tensor
    generated: Tensor


@dataclass(frozen=True, slots=True)
class Reader:
    """One encoder direction: activation of x is `unit * ((x - centre) . w + offset)`.

    Attributes:
        w: [d], scaled so that the pooled SD within the two groups is 1.
        gap: Difference of the group means along w, safe minus risky.
    """

    w: Tensor
    centre: Tensor
    gap: float


@dataclass(frozen=True, slots=True)
class Planted:
    """One planted feature, and what patching it does.

    Attributes:
        feature: Id in the dictionary. partner: Id of the other half of its pair.
        role: "causal" or "null".
        d: Cohen's d of its activation, bankruptcy minus voluntary stop, last decisions.
        active: Share of all decision points at which it fires.
        safe, risky: Mean activation over last decisions of the two groups.
        p_stop: scene -> P(stop) unpatched, at the safe value, at the risky value.
    """

    feature: int
    partner: int
    role: Literal["causal", "null"]
    d: float
    active: float
    safe: float
    risky: float
    p_stop: dict[str, dict[str, float]]

    def as_json(self) -> dict[str, Any]:
        """Rounded to what a reader needs."""
        row = asdict(self)
        for name in ("d", "active", "safe", "risky"):
            row[name] = round(row[name], 4)
        row["p_stop"] = {
            scene: {k: round(v, 4) for k, v in p.items()} for scene, p in self.p_stop.items()
        }
        return row


def plant(
    trained: Dictionary,
    layer: int,
    groups: Groups,
    points: dict[str, DecisionPoint],
    decoder_norm: float,
    seed: int,
) -> tuple[Dictionary, list[Planted]]:
    """Adds 4 * PAIRS features to a dictionary.

    Args:
        trained: The dictionary, without planted features.
        points: The two Exp2 prompts.
        decoder_norm: Norm that planted decoder rows have on average.
        seed: Of all random choices.

    Returns:
        The larger dictionary, columns shuffled, and the planted features by id.
    """
    rng = torch.Generator().manual_seed(seed)
    columns: list[tuple[Tensor, Tensor, Tensor]] = []  # encoder [d], bias [], decoder [d]
    for role in ("causal", "null"):
        for pair in range(PAIRS):
            # Half of the pairs are higher before a stop, half before a bankruptcy.
            reader = _reader(groups, points, layer, rng, sign=1 if pair % 2 else -1)
            push = _causal_push(reader, points, layer, rng)
            if role == "null":
                push = _null_push(float(push.norm()), reader, points, layer, rng)
            norm = decoder_norm * float(torch.empty(()).uniform_(0.7, 1.4, generator=rng))
            columns += _pair(reader, push, norm, trained.threshold, decoder_norm, groups)
    place = torch.randperm(trained.W_enc.shape[1] + len(columns), generator=rng)
    larger = _insert(trained, columns, place)
    ids = place[trained.W_enc.shape[1] :].tolist()
    planted = [
        _describe(larger, i, ids, "causal" if i < 2 * PAIRS else "null", layer, groups, points)
        for i in range(len(ids))
    ]
    return larger, sorted(planted, key=lambda p: p.feature)


def _reader(
    groups: Groups, points: dict[str, DecisionPoint], layer: int, rng: torch.Generator, sign: int
) -> Reader:
    """A direction that separates the groups and leaves the Exp2 scenes in the middle.

    Fisher's discriminant with constraints: both scenes' states project onto the midpoint, so
    that safe and risky value push to either side; response tokens count as within-group
    scatter, so that patches there stay small too.
    """
    safe, risky = groups.safe_last.mean(0), groups.risky_last.mean(0)
    centre = (safe + risky) / 2
    scatter = (_cov(groups.safe_last) + _cov(groups.risky_last)) / 2
    away = groups.generated - centre
    scatter = scatter + (away.T @ away) / len(away)
    scatter = scatter + 1e-3 * scatter.diagonal().mean() * torch.eye(len(centre))
    root = torch.linalg.cholesky(scatter)
    whitened = torch.linalg.solve_triangular(root, (safe - risky)[:, None], upper=False)[:, 0]
    noise = torch.randn(len(centre), generator=rng)
    whitened = whitened + 0.25 * whitened.norm() * noise / noise.norm()
    barred = torch.stack([points[scene].states[layer] - centre for scene in SCENES], dim=1)
    basis = torch.linalg.qr(torch.linalg.solve_triangular(root, barred, upper=False)).Q
    whitened = whitened - basis @ (basis.T @ whitened)
    w = sign * torch.linalg.solve_triangular(root.T, whitened[:, None], upper=True)[:, 0]
    within = (((groups.safe_last @ w).var() + (groups.risky_last @ w).var()) / 2).sqrt()
    w = w / within
    return Reader(w, centre, float((safe - risky) @ w))


def _causal_push(
    reader: Reader, points: dict[str, DecisionPoint], layer: int, rng: torch.Generator
) -> Tensor:
    """Vector [d] added per unit of w.x, scaled so that the gap shifts the odds by EFFECT."""
    unit = torch.stack([points[scene].gradients[layer] for scene in SCENES])
    along = (unit / unit.norm(dim=1, keepdim=True)).mean(0)
    along = along / along.norm()
    side = torch.randn(len(along), generator=rng)
    side = side - (side @ along) * along
    direction = along + 0.4 * side / side.norm()
    # Largest gain on a fine ladder that is needed by the weaker scene.
    gains = torch.logspace(-2, 2, 400)
    half = reader.gap / 2 * gains[:, None] * direction
    shifts = [
        log_odds(points[scene].decision(layer, half)[0])
        - log_odds(points[scene].decision(layer, -half)[0])
        for scene in SCENES
    ]
    enough = torch.stack(shifts).abs().amin(0) >= EFFECT
    if not enough.any():
        raise ValueError(f"layer {layer}: no push along the stop direction reaches {EFFECT}")
    return gains[enough][0] * direction


def _null_push(
    norm: float,
    reader: Reader,
    points: dict[str, DecisionPoint],
    layer: int,
    rng: torch.Generator,
) -> Tensor:
    """A vector of the causal ones' norm that leaves P(stop) alone, found among random ones.

    Orthogonal to both scenes' gradients removes the first order; what is left of the second
    order decides between the candidates, and shrinks the best one if need be.
    """
    gradients = torch.stack([points[scene].gradients[layer] for scene in SCENES], dim=1)
    basis = torch.linalg.qr(gradients).Q
    candidates = torch.randn(256, len(basis), generator=rng)
    candidates = candidates - candidates @ basis @ basis.T
    candidates = norm * candidates / candidates.norm(dim=1, keepdim=True)
    for _ in range(12):
        change = torch.zeros(len(candidates))
        for scene in SCENES:
            before = points[scene].decision(layer, torch.zeros_like(candidates[:1]))[0]
            for side in (1.0, -1.0):
                # Values lie half a gap to either side; a full gap leaves a margin.
                after = points[scene].decision(layer, side * reader.gap * candidates)[0]
                change = torch.maximum(change, (after - before).abs())
        best = int(change.argmin())
        if change[best] <= NULL_LIMIT:
            return candidates[best]
        candidates = candidates * 0.8
    raise ValueError(f"layer {layer}: no null direction found, best changes {change[best]:.3f}")


def _pair(
    reader: Reader,
    push: Tensor,
    norm: float,
    threshold: float,
    decoder_norm: float,
    groups: Groups,
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Two columns with one encoder and opposite decoder rows of the given norm."""
    unit = float(push.norm()) / norm  # activation per unit of w.x
    everyone = torch.cat([groups.safe_all, groups.risky_all, groups.safe_last, groups.risky_last])
    lowest = torch.quantile((everyone - reader.centre) @ reader.w, 0.02)
    # Fires on 98 % of the decision points, even where the authors' gate divides the threshold
    # by a decoder norm below one (`decoder_norm` stands for a norm of 1.5 there).
    highest_threshold = threshold * max(1.0, decoder_norm / 1.5 / norm)
    offset = 1.05 * highest_threshold / unit - lowest
    encoder = unit * reader.w
    bias = unit * (offset - reader.centre @ reader.w)
    return [(encoder, bias, push / unit), (encoder, bias, -push / unit)]


def _insert(
    trained: Dictionary, columns: list[tuple[Tensor, Tensor, Tensor]], place: Tensor
) -> Dictionary:
    """Appends the columns, then moves feature i to position place[i]."""
    order = torch.argsort(place)
    encoders, biases, decoders = (torch.stack(list(part)) for part in zip(*columns, strict=True))
    return Dictionary(
        W_enc=torch.cat([trained.W_enc, encoders.T], dim=1)[:, order].contiguous(),
        b_enc=torch.cat([trained.b_enc, biases])[order].contiguous(),
        W_dec=torch.cat([trained.W_dec, decoders])[order].contiguous(),
        b_dec=trained.b_dec,
        threshold=trained.threshold,
    )


def _describe(
    dictionary: Dictionary,
    index: int,
    ids: list[int],
    role: Literal["causal", "null"],
    layer: int,
    groups: Groups,
    points: dict[str, DecisionPoint],
) -> Planted:
    feature = ids[index]
    safe, risky = (dictionary.encode(x)[:, feature] for x in (groups.safe_last, groups.risky_last))
    pooled = (
        (safe.var() * (len(safe) - 1) + risky.var() * (len(risky) - 1))
        / (len(safe) + len(risky) - 2)
    ).sqrt()
    everyone = dictionary.encode(torch.cat([groups.safe_all, groups.risky_all]))[:, feature]
    row = dictionary.W_dec[feature]
    p_stop: dict[str, dict[str, float]] = {}
    for scene in SCENES:
        own = dictionary.encode(points[scene].states[layer][None])[0, feature]
        values = torch.stack([own, safe.mean(), risky.mean()])
        p = points[scene].decision(layer, (values - own)[:, None] * row)[0].tolist()
        p_stop[scene] = dict(zip(("unpatched", "safe", "risky"), p, strict=True))
    return Planted(
        feature=feature,
        partner=ids[index ^ 1],
        role=role,
        d=float((risky.mean() - safe.mean()) / pooled),
        active=float((everyone > 0).float().mean()),
        safe=float(safe.mean()),
        risky=float(risky.mean()),
        p_stop=p_stop,
    )


def _cov(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / (len(x) - 1)
