"""The sampler against closed forms and against transformers' own logits processors."""

import torch
from scipy import stats
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from pitboss.counted import noise_words
from pitboss.engine.buffers import SlotBuffers
from pitboss.engine.noise import gumbel, uniform
from pitboss.engine.sampler import largest, sample

CPU = torch.device("cpu")


def draw(logits: torch.Tensor, n: int, t: float, k: int, p: float) -> torch.Tensor:
    buffers = SlotBuffers(n, 0, CPU)
    buffers.floats["temperature"].fill_(t)
    buffers.floats["top_p"].fill_(p)
    buffers.ints["top_k"].fill_(k)
    words = torch.tensor([noise_words(3, f"row {i}") for i in range(n)])
    buffers.ints["word0"].copy_(words[:, 0])
    buffers.ints["word1"].copy_(words[:, 1])
    eos = torch.tensor([], dtype=torch.int64)
    step = torch.zeros(n, dtype=torch.int64)
    return sample(logits.expand(n, -1).clone(), step, buffers, eos, None, wide=k == 0)


def test_the_largest_of_a_large_vocabulary_are_found_group_by_group() -> None:
    torch.manual_seed(1)
    for vocab in (20_000, 32_768, 50_257):
        # bfloat16 has many ties; which of them come is a matter of order, their values are not.
        logits = torch.randn(4, vocab).bfloat16()
        values, tokens = largest(logits, 64)
        assert torch.equal(values, logits.topk(64).values)
        assert torch.equal(values, logits.gather(1, tokens))
        assert all(len(set(row)) == 64 for row in tokens.tolist())


def test_frequencies_follow_transformers_warpers() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 60) * 2
    ids = torch.zeros(1, 1, dtype=torch.int64)
    for t, k, p in ((0.7, 50, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.8), (0.7, 50, 0.9)):
        warped = TemperatureLogitsWarper(t)(ids, logits)
        warped = TopKLogitsWarper(k)(ids, warped) if k else warped
        warped = TopPLogitsWarper(p)(ids, warped) if p < 1 else warped
        expected = warped.softmax(-1)[0].double()
        n = 20_000
        counts = torch.bincount(draw(logits, n, t, k, p), minlength=60)
        assert counts[expected == 0].sum() == 0
        usual = expected * n > 5
        rest = n - counts[usual].sum()
        observed = torch.cat([counts[usual].double(), rest[None].double()])
        wanted = torch.cat([expected[usual] * n, (expected[~usual].sum() * n)[None]])
        keep = wanted > 0
        p_value = stats.chisquare(
            observed[keep], wanted[keep] * observed[keep].sum() / wanted[keep].sum()
        ).pvalue
        assert p_value > 1e-4, (t, k, p, p_value)


def test_zero_temperature_takes_the_largest() -> None:
    logits = torch.tensor([[0.1, 3.0, 2.9, -1.0]])
    assert set(draw(logits, 50, 0.0, 50, 0.9).tolist()) == {1}


def test_counted_noise_is_uniform_and_uncorrelated() -> None:
    words = torch.tensor([noise_words(1, f"r{i}") for i in range(200)])
    token = torch.arange(100).expand(200, -1)
    first = uniform(words, torch.zeros(200, dtype=torch.int64), token)
    second = uniform(words, torch.ones(200, dtype=torch.int64), token)
    for u in (first, second):
        assert float(u.min()) > 0 and float(u.max()) < 1
        assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-4
    pairs = [
        (first, second),
        (first[:, :-1], first[:, 1:]),
        (first[:-1], first[1:]),
    ]
    for a, b in pairs:
        assert abs(float(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1])) < 0.03


def test_no_number_is_rounded_to_one_whose_gumbel_noise_would_win_any_draw() -> None:
    words, step = torch.tensor([noise_words(1, "a")]), torch.zeros(1, dtype=torch.int64)
    close_to_one = torch.tensor([[35033286, 46162484]])  # the two of the first 50 million
    u = uniform(words, step, close_to_one)
    assert u.dtype == torch.float64 and (u.float() == 1).all() and (u < 1).all()
    assert gumbel(words, step, close_to_one).isfinite().all()


def test_noise_depends_on_seed_and_name_only() -> None:
    assert noise_words(1, "a") == noise_words(1, "a")
    assert len({noise_words(s, n) for s in range(50) for n in "abcdef"}) == 300
