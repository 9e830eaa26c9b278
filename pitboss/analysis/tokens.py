"""Which tokens a feature's decoder row promotes: the direction read through the model's head."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitboss.errors import BadInput

Floats32 = NDArray[np.float32]
Matrix = Literal["unembedding", "input_embedding"]

_BLOCK = 64
"""Features at once: 64 x 256,000 tokens of float32 are 66 MB."""


class TopTokens(NamedTuple):
    """The tokens with the largest score for each feature, best first.

    Attributes:
        ids: [n, top] token ids. Equal scores are ordered by id.
        scores: [n, top] their scores.
    """

    ids: NDArray[np.int64]
    scores: Floats32


def top_tokens(
    decoder: NDArray[np.floating[Any]],
    embedding: NDArray[np.floating[Any]],
    *,
    norm_scale: NDArray[np.floating[Any]] | None = None,
    top: int = 50,
    matrix: Matrix = "unembedding",
) -> TopTokens:
    """Reads decoder rows as tokens.

    With the unembedding, the score is the logit that a unit of activation adds before the final
    norm's division: (row * norm_scale) . column. The division by the residual's root mean square is
    a positive number that is the same for all tokens, so it changes no order; nor does Gemma 2's
    soft cap c·tanh(logit / c), which grows with the logit. Scores are before both. With the input
    embedding (what the original study did) it is the cosine of the row and the token's embedding.

    Args:
        decoder: [n, d] decoder rows.
        embedding: [vocabulary, d] unembedding or input embedding matrix.
        norm_scale: [d] scale of the final RMS norm as it multiplies: the weight for Llama, one plus
            the weight for Gemma. Needed for the unembedding.
        top: Tokens for each feature.
        matrix: Which reading.

    Raises:
        BadInput: Shapes do not fit, values are not finite, or the norm's scale is missing.
    """
    rows, table = _prepared(decoder, embedding, norm_scale, matrix)
    if not 1 <= top <= len(table):
        raise BadInput(f"{top} tokens were asked of a vocabulary of {len(table)}.")
    ids = np.empty((len(rows), top), np.int64)
    scores = np.empty((len(rows), top), np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK] @ table.T
        for offset, line in enumerate(block):
            ids[start + offset] = best = _largest(line, top)
            scores[start + offset] = line[best]
    return TopTokens(ids, scores)


def _prepared(
    decoder: NDArray[Any], embedding: NDArray[Any], scale: NDArray[Any] | None, matrix: Matrix
) -> tuple[Floats32, Floats32]:
    rows, table = np.asarray(decoder, np.float32), np.asarray(embedding, np.float32)
    if rows.ndim != 2 or table.ndim != 2 or rows.shape[1] != table.shape[1]:
        raise BadInput(f"Decoder {rows.shape} and embedding {table.shape} do not share a width.")
    if not (np.isfinite(rows).all() and np.isfinite(table).all()):
        raise BadInput("The decoder rows or the embedding hold values that are not finite.")
    if matrix == "input_embedding":
        return _unit(rows), _unit(table)
    if scale is None or np.shape(scale) != (rows.shape[1],):
        raise BadInput(
            f"The final norm's scale must be [{rows.shape[1]}], not "
            f"{None if scale is None else np.shape(scale)}.",
            next="Give the final norm's weight (for Gemma one plus the weight).",
        )
    return rows * np.asarray(scale, np.float32), table


def _unit(rows: Floats32) -> Floats32:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def _largest(line: Floats32, top: int) -> NDArray[np.int64]:
    """Indices of the largest values, ties by index, without sorting the whole vocabulary."""
    least = np.partition(line, len(line) - top)[len(line) - top]
    candidates = np.flatnonzero(line >= least)
    order = np.lexsort((candidates, -line[candidates]))
    return candidates[order][:top]
