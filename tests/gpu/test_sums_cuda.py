"""Sums of activations added up on the GPU are the host's."""

import numpy as np
import pytest
import torch

pytest.importorskip("pyarrow")  # the store's, which the sums go to

from pitboss.errors import BadInput
from pitboss.saes.sums import GroupSums, RunningSums


def activations(n: int, features: int) -> torch.Tensor:
    """Over twelve decades, a good half of them zero."""
    generator = torch.Generator().manual_seed(12)
    scale = torch.logspace(-6, 6, features)
    return torch.randn(n, features, generator=generator).relu() * scale


def test_sums_on_the_gpu_are_the_hosts() -> None:
    values = activations(1_500, 4_096)
    times = torch.randint(0, 4, (1_500,), generator=torch.Generator().manual_seed(3))
    running, weighted = (RunningSums(4_096, "cuda") for _ in range(2))
    for batch, of_batch in zip(values.split(256), times.split(256), strict=True):
        running.add(batch.cuda())
        weighted.add(batch.cuda(), of_batch.cuda())
    host = values.numpy()
    for found, expected in (
        (running.result(), GroupSums.of(host)),
        (weighted.result(), GroupSums.of(host.repeat(times.numpy(), axis=0))),
    ):
        assert found.n == expected.n
        np.testing.assert_array_equal(found.fired, expected.fired)
        np.testing.assert_allclose(found.total, expected.total, rtol=1e-12)
        np.testing.assert_allclose(found.total_squared, expected.total_squared, rtol=1e-12)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_failed_forward_is_not_counted(wrong: float) -> None:
    running = RunningSums(3, "cuda")
    running.add(torch.tensor([[1.0, wrong, 2.0]], device="cuda"))
    with pytest.raises(BadInput, match="1 of 3 features"):
        running.result()
