"""Interventions on directions, all brought to the one patch the engine applies.

The engine knows x ← x + (value − a)·dec. With `Patch.linear`, a = x·enc + shift, and then

    add a direction     enc = 0,  dec = direction,  value = amount    x + amount·direction
    set a coordinate    enc = dec = u (unit),       value = target    x + (target − x·u)·u
    project out         the same with target 0                        x − (x·u)·u

`subspace` does the last two for several directions at once, `controls` makes the random arms. Every
function returns a tuple of patches for `Row.patches`; several are joined by `together`.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pitboss.engine.row import Patch, Positions
from pitboss.errors import BadInput

Patches = tuple[Patch, ...]

DIRECTION = -1
"""`Patch.feature` of a patch that reads no SAE feature."""

DOSE = 0.03
"""One step of the dose ladder as a share of the layer's median residual norm: the unit in which
the gambling study's own steering arms (−3 to +3 steps) were dosed."""

EVERY: Positions = "prompt_last_and_generated"
_ORTHOGONAL = 1e-4  # largest |cosine| of two directions whose coordinates can be set together


def add_direction(
    layer: int, direction: Tensor, amount: float, *, unit: bool, positions: Positions = EVERY
) -> Patches:
    """x + amount·direction.

    Args:
        direction: [d_model].
        amount: Multiple of the direction as it is, or of its unit vector.
        unit: Scale the direction to norm 1 first, so that `amount` is a distance.

    Raises:
        BadInput: The direction is not a finite, non-zero vector, or the amount is not finite.
    """
    vector = unit_vector(direction, layer) if unit else _vector(direction, layer)
    return (linear_patch(layer, torch.zeros_like(vector), vector, amount, positions),)


def dose_ladder(
    layer: int,
    direction: Tensor,
    median_norm: float,
    steps: Sequence[float] = (-3, -2, -1, 0, 1, 2, 3),
    *,
    positions: Positions = EVERY,
) -> dict[float, Patches]:
    """One arm a step: the unit direction times step · 3 % of the layer's median residual norm.

    Args:
        median_norm: Of this layer, from `median_norms`.
        steps: Doses; step 0 is a patch that changes no bit.

    Returns:
        step → patches.

    Raises:
        BadInput: A step is repeated, or the median norm is not a positive number.
    """
    if not (math.isfinite(median_norm) and median_norm > 0):
        raise BadInput(
            f"a median norm of {median_norm} is no unit for doses",
            where=f"dose ladder at layer {layer}",
            next="measure it with `median_norms` on the layer's captured residual streams.",
        )
    if len(set(steps)) != len(steps):
        raise BadInput(
            f"the steps {tuple(steps)} repeat a dose", where=f"dose ladder at layer {layer}"
        )
    dose = DOSE * median_norm
    return {
        step: add_direction(layer, direction, step * dose, unit=True, positions=positions)
        for step in steps
    }


def median_norms(states: Iterable[Tensor]) -> Tensor:
    """Median over rows of the residual stream's norm, float32 [layers].

    Args:
        states: `Generation.states` of unpatched rows, each [layers, d_model] in the order of
            `Engine.capture_layers`; for an even number of rows the median is the mean of the
            middle two.

    Raises:
        BadInput: There are no states, or they differ in shape.
    """
    every = list(states)
    shapes = {tuple(s.shape) for s in every}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise BadInput(
            f"median norms need states of one shape [layers, d_model], found {sorted(shapes)}",
            next="run rows with `capture=True` on an engine with `capture_layers`.",
        )
    norms = torch.linalg.vector_norm(torch.stack(every).double(), dim=-1)
    return norms.quantile(0.5, dim=0).float()


def set_coordinate(
    layer: int, direction: Tensor, target: float, *, positions: Positions = EVERY
) -> Patches:
    """x + (target − x·u)·u with u the unit vector of `direction`: afterwards x·u = target.

    Raises:
        BadInput: The direction is not a finite, non-zero vector, or the target is not finite.
    """
    u = unit_vector(direction, layer)
    return (linear_patch(layer, u, u, target, positions),)


def project_out(layer: int, direction: Tensor, *, positions: Positions = EVERY) -> Patches:
    """x − (x·u)·u with u the unit vector of `direction`: afterwards x·u = 0.

    Raises:
        BadInput: The direction is not a finite, non-zero vector.
    """
    return set_coordinate(layer, direction, 0.0, positions=positions)


def together(*parts: Patch | Iterable[Patch], lanes: int | None = None) -> Patches:
    """Several interventions in one row, checked to be well defined jointly.

    All patches at one layer read the same unpatched residual stream, so their order is of no
    consequence, and features f_1..f_k set together give decode(encode(x) with all of them set) −
    decode(encode(x)) on top of x, exactly.

    Args:
        lanes: The engine's `lanes`, if it should be checked that it has room.

    Raises:
        BadInput: A patch is not in mode `delta`; a feature is set twice; two coordinates of one
            layer are set along directions that are not orthogonal; there are too few lanes.
    """
    patches = tuple(p for part in parts for p in ((part,) if isinstance(part, Patch) else part))
    seen: set[tuple[int, int]] = set()
    for patch in patches:
        where = f"patch of feature {patch.feature} at layer {patch.layer}"
        if patch.mode != "delta":
            raise BadInput(
                f"mode {patch.mode!r} replaces the whole residual stream and cannot be combined",
                where=where,
                next="use mode delta.",
            )
        if (patch.layer, patch.feature) in seen:
            raise BadInput("a feature is set twice in one row", where=where)
        if patch.feature != DIRECTION:
            seen.add((patch.layer, patch.feature))
    _check_orthogonal([p for p in patches if p.linear and p.enc.any()])
    if lanes is not None and len(patches) > lanes:
        raise BadInput(
            f"{len(patches)} patches in one row, the engine has {lanes} lanes",
            next=f"make the engine with lanes={len(patches)}.",
        )
    return patches


def _check_orthogonal(setters: list[Patch]) -> None:
    """Coordinates that are set jointly must not disturb each other."""
    for i, one in enumerate(setters):
        for other in setters[:i]:
            scale = one.enc.norm() * other.dec.norm()
            if one.layer == other.layer and (one.enc @ other.dec).abs() > _ORTHOGONAL * scale:
                raise BadInput(
                    "two directions whose coordinates are set are not orthogonal, so neither "
                    "would reach its target",
                    where=f"layer {one.layer}",
                    next="set them as one subspace (`subspace.set_subspace`).",
                )


def linear_patch(layer: int, enc: Tensor, dec: Tensor, value: float, positions: Positions) -> Patch:
    if not math.isfinite(value):
        raise BadInput(f"{value} is no finite amount", where=f"direction at layer {layer}")
    return Patch(
        layer=layer,
        feature=DIRECTION,
        enc=enc.float().contiguous(),
        shift=0.0,
        scale=1.0,
        bias=0.0,
        threshold=0.0,
        dec=dec.float().contiguous(),
        value=float(value),
        positions=positions,
        linear=True,
    )


def _vector(direction: Tensor, layer: int) -> Tensor:
    """The direction in float64, refused where it points nowhere."""
    vector = direction.detach().double()
    if vector.ndim != 1 or not vector.isfinite().all() or not vector.any():
        raise BadInput(
            f"a direction must be a finite, non-zero vector [d_model], not shape "
            f"{tuple(direction.shape)} of norm {float(vector.norm()):.3g}",
            where=f"direction at layer {layer}",
        )
    return vector


def unit_vector(direction: Tensor, layer: int) -> Tensor:
    vector = _vector(direction, layer)
    return vector / vector.norm()
