"""Interventions on directions, all brought to the one patch the engine applies.

The engine knows x ← x + (value − a)·dec. With `Patch.linear`, a = x·enc + shift, and then

    add a direction     enc = 0,  dec = direction,  value = amount    x + amount·direction
    set a coordinate    enc = dec = u (unit),       value = target    x + (target − x·u)·u
    project out         the same with target 0                        x − (x·u)·u

The last two for several directions of a layer at once set or remove a subspace of rank r: the
directions are made orthonormal, q_1..q_r, and each becomes one patch that sets the coordinate
x·q_i. Because all of them read the same x and the q_i are orthogonal, none disturbs another.

Every function returns a tuple of patches for `Request.patches`; several are joined by `together`.
`controls` makes the random arms.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pitboss.engine.request import Patch, Positions
from pitboss.errors import BadInput

Patches = tuple[Patch, ...]

DIRECTION = -1
"""`Patch.feature` of a patch that reads no SAE feature."""

DOSE = 0.03
"""One step of the dose ladder as a share of the layer's median residual norm: the unit in which
the gambling study's own steering arms (−3 to +3 steps) were dosed."""

EVERY: Positions = "prompt_last_and_generated"
_ORTHOGONAL = 1e-4  # largest |cosine| of two directions whose coordinates can be set together
_DEPENDENT = 1e-5  # smallest singular value over the largest at which unit vectors span rank r


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
    """Median over requests of the residual stream's norm, float32 [layers].

    Args:
        states: `Generation.states` of unpatched requests, each [layers, d_model] in the order of
            `EngineConfig.capture_layers`; of an even number the median is the mean of the middle
            two.

    Raises:
        BadInput: There are no states, or they differ in shape.
    """
    every = list(states)
    shapes = {tuple(s.shape) for s in every}
    if len(shapes) != 1 or len(next(iter(shapes))) != 2:
        raise BadInput(
            f"median norms need states of one shape [layers, d_model], found {sorted(shapes)}",
            next="run requests with `capture=True` on an engine with `capture_layers`.",
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


def set_subspace(
    layer: int,
    basis: Tensor,
    targets: Tensor | Sequence[float],
    *,
    positions: Positions = EVERY,
) -> Patches:
    """Set x's coordinates along r directions at once; what is orthogonal to them stays.

    Afterwards x·b_i/|b_i| = targets[i] for each row b_i of the basis, which need not be orthogonal.
    With `targets = coordinates(basis, donor)` the part of x in the subspace becomes the donor's.

    Args:
        basis: [r, d_model], rows of any length.
        targets: [r].

    Returns:
        r patches on orthonormal directions, so an engine with r patch slots is needed.

    Raises:
        BadInput: A row is zero or not finite, the rows are linearly dependent, or the number of
            targets is not r.
    """
    units = _independent(basis, layer)
    wanted = torch.as_tensor(targets, dtype=torch.float64, device=units.device)
    if tuple(wanted.shape) != (len(units),):
        raise BadInput(
            f"{len(units)} directions need as many targets, found shape {tuple(wanted.shape)}",
            where=f"subspace at layer {layer}",
        )
    # units = lower · q with q orthonormal; units · x = targets therefore means lower · c = targets.
    columns, upper = torch.linalg.qr(units.T)
    c = torch.linalg.solve_triangular(upper.T, wanted[:, None], upper=False)[:, 0]
    return tuple(
        linear_patch(layer, q, q, float(at), positions) for q, at in zip(columns.T, c, strict=True)
    )


def project_out_subspace(layer: int, basis: Tensor, *, positions: Positions = EVERY) -> Patches:
    """x − Q Qᵀ x with Q an orthonormal basis of the rows of `basis`; see `set_subspace`."""
    return set_subspace(layer, basis, [0.0] * len(basis), positions=positions)


def coordinates(basis: Tensor, x: Tensor) -> Tensor:
    """x·b_i/|b_i| for each row of `basis` [r, d_model] and x [..., d_model]: float64 [..., r]."""
    rows = basis.double()
    return x.double() @ (rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)).T


def _independent(basis: Tensor, layer: int) -> Tensor:
    """Unit rows of a basis in float64 [r, d_model], refused where they do not span rank r."""
    if basis.ndim != 2 or not 0 < len(basis) <= basis.shape[1]:
        raise BadInput(
            f"a basis must be [r, d_model] with r from 1 to d_model, not {tuple(basis.shape)}",
            where=f"subspace at layer {layer}",
        )
    units = torch.stack([unit_vector(row, layer) for row in basis])
    spread = torch.linalg.svdvals(units)
    rank = int((spread > _DEPENDENT * spread[0]).sum())
    if rank < len(basis):
        raise BadInput(
            f"the {len(basis)} directions are linearly dependent: they span rank {rank}",
            where=f"subspace at layer {layer}",
            next="leave out directions that are combinations of the others.",
        )
    return units


def together(*parts: Patch | Iterable[Patch], patch_slots: int | None = None) -> Patches:
    """Several interventions in one request, checked to be well defined jointly.

    All patches at one layer read the same unpatched residual stream, so their order is of no
    consequence, and features f_1..f_k set together give decode(encode(x) with all of them set) −
    decode(encode(x)) on top of x, exactly.

    Args:
        patch_slots: The engine's, if it should be checked that it has room.

    Raises:
        BadInput: A patch is not in mode `delta`; a feature is set twice; two coordinates of one
            layer are set along directions that are not orthogonal; there are too few patch
            slots.
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
            raise BadInput("a feature is set twice in one request", where=where)
        if patch.feature != DIRECTION:
            seen.add((patch.layer, patch.feature))
    _check_orthogonal([p for p in patches if p.linear and p.enc.any()])
    if patch_slots is not None and len(patches) > patch_slots:
        raise BadInput(
            f"{len(patches)} patches in one request, the engine has {patch_slots} patch slots",
            next=f"configure the engine with patch_slots={len(patches)}.",
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
                    next="set them as one subspace (`set_subspace`).",
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
