"""Interventions on several directions of a layer at once: set or remove a subspace of rank r.

The directions are made orthonormal, q_1..q_r, and each becomes one patch that sets the coordinate
x·q_i. Because all of them read the same x and the q_i are orthogonal, none disturbs another.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pitboss.engine.interventions import EVERY, Patches, linear_patch, unit_vector
from pitboss.engine.row import Positions
from pitboss.errors import BadInput

_DEPENDENT = 1e-5  # smallest singular value over the largest at which unit vectors span rank r


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
        r patches on orthonormal directions, so an engine with r lanes is needed.

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
