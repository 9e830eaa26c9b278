"""The groups compared at equal balance and round: what of a feature's difference is not theirs.

Each feature's activation y is regressed on the group and on covariates of the decision,
y = a + b·risky + c·covariates + error, and b is the adjusted difference. By the theorem of Frisch,
Waugh and Lovell b follows from what the covariates leave of the group, which is the same for all
features and known before any activation is. So a few weighted sums a feature, added up batch by
batch where the activations are computed, give b and its standard error:

    b = Σ g̃·y / Σ g̃²,  g̃ = risky - its prediction from the covariates.

The robust standard error is the jackknife's over prompts (CR3; HC3 where every prompt counts once
and in one group only): unequal variances and games that share a prompt are allowed for. Its terms
are linear in y too, so they need no second pass.

Where the covariates are cells (`matched`), y and the group are taken as deviations from their
cell's mean. b is then the mean of the cells' differences, weighted by n_risky·n_safe / n of the
cell; cells in which one group is missing do not count.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pitboss.errors import BadInput

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_TOLD_APART = 1e-6
"""Least share of the group's variance that the covariates must leave."""


@dataclass(frozen=True)
class Design:
    """Everything about the regression that does not depend on the activations.

    Rows of the regression are decisions; s states (distinct prompts) stand for them, with as many
    risky and safe rows each as count.

    Attributes:
        rows: [s] rows of each state; 0 where it does not count.
        basis: [s, k] sum over the state's rows of an orthonormal basis of the regressors, the group
            first. Of cells, whose means are taken off, the group alone (k = 1).
        score: [s] weight of y in the state's jackknife term; across: [s, k] that of the fit.
        length: Root of Σ g̃².
        cell: [s] number of the state's cell, or None without cells.
        n_risky, n_safe: Rows that count. cells: Cells that count, 0 without cells.
        df, df_robust: Degrees of freedom of the classical and of the robust standard error.
    """

    rows: Floats
    basis: Floats
    score: Floats
    across: Floats
    length: float
    cell: Ints | None
    n_risky: int
    n_safe: int
    cells: int
    df: int
    df_robust: int

    def batches(self, at_once: int) -> Iterator[Ints]:
        """All states in batches of about this size; the states of a cell come in the same one."""
        if self.cell is None:
            every = np.arange(len(self.rows))
            yield from (every[at : at + at_once] for at in range(0, len(every), at_once))
            return
        order = np.argsort(self.cell, kind="stable")
        begins = np.flatnonzero(np.diff(self.cell[order], prepend=-1))
        start = 0
        for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), len(order)], strict=True):
            if end - start > at_once and begin > start:
                yield order[start:begin]
                start = begin
        if start < len(order):
            yield order[start:]


@dataclass(frozen=True)
class Adjusted:
    """Adjusted differences of f features, risky minus safe.

    Attributes:
        difference: [f] in units of the activation.
        se: [f] classical standard error; se_robust: [f] the jackknife's over prompts.
    """

    difference: Floats
    se: Floats
    se_robust: Floats


def covariate_design(risky: ArrayLike, safe: ArrayLike, covariates: ArrayLike) -> Design:
    """The regression on the group and on covariates.

    Args:
        risky, safe: [s] rows of each group at each state.
        covariates: [s, c]; constant or redundant ones are harmless.

    Raises:
        BadInput: The covariates tell the groups apart completely, or rows are too few.
    """
    counts = np.column_stack([risky, safe]).astype(np.float64)
    rows = counts.sum(1)
    others = _orthonormal(np.asarray(covariates, np.float64), rows)
    left = np.array([[1.0, 0.0]]) - (others @ (others.T @ counts[:, 0]))[:, None]
    length = _length(left, counts)
    each = np.repeat(others[:, None], 2, axis=1)  # risky and safe rows of a state are alike in them
    basis = np.concatenate([left[..., None] / length, each], axis=2)
    return _design(counts, left, basis, length, lost=basis.shape[2], cell=None)


def matched_design(risky: ArrayLike, safe: ArrayLike, cell: ArrayLike) -> Design:
    """The comparison within cells.

    Args:
        risky, safe: [s] rows of each group at each state.
        cell: [s] number of each state's cell.

    Raises:
        BadInput: No cell has rows of both groups, or rows are too few.
    """
    numbers = np.unique(np.asarray(cell), return_inverse=True)[1].astype(np.int64)
    counts = np.column_stack([risky, safe]).astype(np.float64)
    of_cell = np.stack([np.bincount(numbers, column) for column in counts.T], axis=1)
    both = np.asarray((of_cell > 0).all(1), np.bool_)
    if not both.any():
        raise BadInput(
            f"None of {len(both)} cells of equal balance and round has decisions of both groups.",
            where="features.adjust",
            next="Play more games, or set features.adjust to covariates.",
        )
    counts = counts * both[numbers][:, None]
    size = np.where(both, of_cell.sum(1), 1.0)
    left = np.array([[1.0, 0.0]]) - (of_cell[:, 0] / size)[numbers][:, None]
    left = left * both[numbers][:, None]
    length = _length(left, counts)
    lost = 1 + int(both.sum())
    basis = left[..., None] / length
    return _design(counts, left, basis, length, lost=lost, cell=numbers, size=size)


def _design(
    counts: Floats,
    left: Floats,
    basis: Floats,
    length: float,
    *,
    lost: int,
    cell: Ints | None,
    size: Floats | None = None,
) -> Design:
    """Jackknife weights of each state: (I - hat matrix)⁻¹ g̃ over the rows it stands for.

    Args:
        counts: [s, 2] rows; left: [s, 2] g̃; basis: [s, 2, k]; the 2 are risky and safe.
        lost: Coefficients that are fitted.
        size: [cells] rows of each cell.
    """
    rows = counts.sum(1)
    n, states = int(rows.sum()), int((rows > 0).sum())
    if states <= lost:
        raise BadInput(
            f"{states} prompts are too few to fit {lost} coefficients.",
            where="features.adjust",
            next="Play more games, or set features.adjust to none.",
        )
    hat = np.einsum("stk,suk->stu", basis, basis)
    if cell is not None and size is not None:
        hat = hat + 1 / size[cell][:, None, None]
    # Rows alike in group and state have equal solutions, so two unknowns stand for all of them.
    inverse = np.linalg.pinv(np.eye(2) - hat * counts[:, None], rcond=1e-9)
    solved = np.einsum("stu,su->st", inverse, left) * counts
    return Design(
        rows=rows,
        basis=np.einsum("st,stk->sk", counts, basis),
        score=solved.sum(1),
        across=np.einsum("st,stk->sk", solved, basis),
        length=length,
        cell=cell,
        n_risky=int(counts[:, 0].sum()),
        n_safe=int(counts[:, 1].sum()),
        cells=0 if size is None else int((np.bincount(cell, rows) > 0).sum()),  # type: ignore[arg-type]
        df=n - lost,
        df_robust=states - lost,
    )


def _orthonormal(covariates: Floats, rows: Floats) -> Floats:
    """[s, r] basis of the constant and the covariates, orthonormal over the rows."""
    share = rows / rows.sum()
    centred = covariates - share @ covariates
    spread = np.sqrt(share @ centred**2)
    scale = np.abs(covariates).max(0, initial=0.0)
    varying = spread > 1e-9 * scale
    columns = np.column_stack([np.ones(len(rows)), centred[:, varying] / spread[varying]])
    u, singular, turn = np.linalg.svd(np.sqrt(rows)[:, None] * columns, full_matrices=False)
    kept = singular > 1e-9 * singular[0]
    return np.asarray(columns @ (turn[kept].T / singular[kept]), np.float64)


def _length(left: Floats, counts: Floats) -> float:
    n_risky, n_safe = counts.sum(0)
    found = float((counts * left**2).sum())
    whole = n_risky * n_safe / max(n_risky + n_safe, 1)
    if found <= _TOLD_APART * whole or whole == 0:
        raise BadInput(
            f"Balance and round tell all {n_risky:.0f} risky from all {n_safe:.0f} safe decisions, "
            "so that nothing can be compared at equal ones.",
            where="features.adjust",
            next="Play more games, or set features.adjust to none.",
        )
    return float(np.sqrt(found))


class RunningAdjusted:
    """Sums for one layer's adjusted differences, added up where the activations are computed.

    They are added in float64, in the order of the batches: on the CPU the same batches give the
    same bits.

    Args:
        design: The regression.
        features: Number of features f.
        device: Where the activations are.
    """

    def __init__(self, design: Design, features: int, device: str | torch.device = "cpu") -> None:
        self._design, self._device = design, device
        k = design.basis.shape[1]
        # Σ rows·y², Σ score²·y²; Σ basis·y, Σ score·across·y
        self._squares = torch.zeros(2, features, dtype=torch.float64, device=device)
        self._products = torch.zeros(2 * k, features, dtype=torch.float64, device=device)
        self._by_square = self._to_device(np.column_stack([design.rows, design.score**2]))
        crossed = design.score[:, None] * design.across
        self._by_product = self._to_device(np.column_stack([design.basis, crossed]))

    def _to_device(self, array: Floats) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def add(self, states: Ints, activations: torch.Tensor) -> None:
        """Add the activations [n, f] of these states (one of `Design.batches`)."""
        y = activations.double()
        if self._design.cell is not None:
            y = self._deviations(states, y.clone())
        index = torch.from_numpy(states).to(self._device)
        for sums, weights, values in (
            (self._products, self._by_product, y),
            (self._squares, self._by_square, y.square()),
        ):
            for column, weight in enumerate(weights.index_select(0, index).T):
                sums[column] += (weight[:, None] * values).sum(0)

    def _deviations(self, states: Ints, y: torch.Tensor) -> torch.Tensor:
        assert self._design.cell is not None
        cell, rows = self._design.cell[states], self._design.rows[states]
        begins = np.flatnonzero(np.diff(cell, prepend=-1))
        for begin, end in zip(begins, [*begins[1:], len(cell)], strict=True):
            if total := rows[begin:end].sum():
                weight = self._to_device(rows[begin:end] / total)
                y[begin:end] -= (weight[:, None] * y[begin:end]).sum(0)
        return y

    def result(self) -> Adjusted:
        """The adjusted differences, on the host."""
        design, k = self._design, self._design.basis.shape[1]
        squares, products = self._squares.cpu().numpy(), self._products.cpu().numpy()
        fit, crossed = products[:k], products[k:]
        residual = np.maximum(squares[0] - (fit**2).sum(0), 0.0)
        jackknife = squares[1] - 2 * (fit * crossed).sum(0)
        jackknife += (fit * (design.across.T @ design.across @ fit)).sum(0)
        return Adjusted(
            difference=fit[0] / design.length,
            se=np.sqrt(residual / design.df) / design.length,
            se_robust=np.sqrt(np.maximum(jackknife, 0.0)) / design.length**2,
        )
