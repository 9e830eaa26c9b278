"""Top tokens are those of a full matrix product and a full sort."""

import numpy as np
import pytest

from pitboss.analysis.tokens import top_tokens
from pitboss.errors import BadInput

RANDOM = np.random.default_rng(3)
DECODER = RANDOM.normal(size=(150, 16)).astype(np.float32)
TABLE = RANDOM.normal(size=(900, 16)).astype(np.float32)
SCALE = RANDOM.uniform(0.1, 3, 16).astype(np.float32)


def test_unembedding_goes_through_the_final_norms_scale() -> None:
    result = top_tokens(DECODER, TABLE, norm_scale=SCALE, top=7)
    logits = (DECODER * SCALE) @ TABLE.T
    expected = np.argsort(-logits, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(result.ids, expected)
    np.testing.assert_allclose(
        result.scores, np.take_along_axis(logits, expected, axis=1), rtol=1e-5
    )
    plain = top_tokens(DECODER, TABLE, norm_scale=np.ones(16), top=7)
    assert (plain.ids != result.ids).any()


def test_order_is_what_the_whole_norm_gives() -> None:
    """Dividing by the root mean square, as the model does, changes no order."""
    rms = np.sqrt((DECODER**2).mean(axis=1, keepdims=True))
    logits = (DECODER / rms * SCALE) @ TABLE.T
    result = top_tokens(DECODER, TABLE, norm_scale=SCALE, top=5)
    np.testing.assert_array_equal(result.ids, np.argsort(-logits, axis=1)[:, :5])


def test_input_embedding_scores_are_cosines() -> None:
    table = np.vstack([TABLE, 5 * DECODER[0]])
    result = top_tokens(DECODER, table, top=3, matrix="input_embedding")
    assert result.ids[0, 0] == 900 and result.scores[0, 0] == pytest.approx(1, abs=1e-6)
    assert (np.abs(result.scores) <= 1 + 1e-6).all()


def test_equal_scores_are_ordered_by_id() -> None:
    result = top_tokens(DECODER[:1], np.ones((40, 16)), norm_scale=SCALE, top=5)
    assert result.ids.tolist() == [[0, 1, 2, 3, 4]]


def test_shapes_and_values_that_do_not_fit_are_refused() -> None:
    with pytest.raises(BadInput, match="do not share a width"):
        top_tokens(DECODER, TABLE[:, :8], norm_scale=SCALE)
    with pytest.raises(BadInput, match=r"scale must be \[16\], not None"):
        top_tokens(DECODER, TABLE)
    with pytest.raises(BadInput, match="not finite"):
        top_tokens(DECODER * np.nan, TABLE, norm_scale=SCALE)
    with pytest.raises(BadInput, match="vocabulary of 900"):
        top_tokens(DECODER, TABLE, norm_scale=SCALE, top=901)
