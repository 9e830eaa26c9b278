"""Sums, Welch, guards and correction, against scipy and by their laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pitboss.errors import BadInput, Mismatch
from pitboss.saes.false_discovery import benjamini_hochberg
from pitboss.saes.statistics import (
    StatisticsRules,
    compare_features,
    log_two_sided,
    welch,
)
from pitboss.saes.sums import GroupSums, RunningSums, merged, sums_of_table, sums_table
from pitboss.store import table_of
from pitboss.store.columns import conform
from pitboss.store.schemas import kind_of

RULES = StatisticsRules(min_fired=5, min_group=10)


def activations(seed: int, n: int, features: int, shift: float = 0.0) -> np.ndarray:
    """Sparse, non-negative, float32, as a gate gives them."""
    random = np.random.default_rng(seed)
    return np.maximum(random.normal(shift, 1, (n, features)), 0).astype(np.float32)


def compare(risky: np.ndarray, safe: np.ndarray, rules: StatisticsRules = RULES):
    sums = {3: {"risky": GroupSums.of(risky), "safe": GroupSums.of(safe)}}
    return compare_features(sums, rules, model="m", sae="s")


def test_t_p_and_d_are_those_of_scipy_on_the_raw_activations() -> None:
    a, b = activations(1, 40, 60, 0.4).astype(float), activations(2, 900, 60).astype(float)
    ours = welch(GroupSums.of(a), GroupSums.of(b))
    theirs = stats.ttest_ind(a, b, equal_var=False)
    np.testing.assert_allclose(ours.t, theirs.statistic, rtol=1e-10)
    np.testing.assert_allclose(ours.df, theirs.df, rtol=1e-10)
    np.testing.assert_allclose(ours.p, theirs.pvalue, rtol=1e-9)
    np.testing.assert_allclose(ours.log_p, np.log(theirs.pvalue), rtol=1e-9)
    pooled = np.sqrt((39 * a.var(0, ddof=1) + 899 * b.var(0, ddof=1)) / 938)
    np.testing.assert_allclose(ours.d, (a.mean(0) - b.mean(0)) / pooled, rtol=1e-10)


@pytest.mark.parametrize(
    ("t", "df", "log_p"),
    [  # 50-digit values of the regularised incomplete beta function and the integral of the density
        (200.0, 6000.0, -6115.151516195458),
        (1000.0, 6000.0, -15370.50624465213),
        (40.0, 1e5, -797.5748184606855),
        (50.0, 1e6, -1252.5770650615627),
        (50.0, 1e7, -1253.9818650361874),
    ],
)
def test_log_p_is_right_where_p_underflows(t: float, df: float, log_p: float) -> None:
    p = np.array([2 * stats.t.sf(t, df)])
    assert p[0] < 1e-290
    assert log_two_sided(np.array([t]), np.array([df]), p)[0] == pytest.approx(log_p, rel=1e-9)


finite = st.floats(0, 100, width=32)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(3, 20), st.just(3)), elements=finite), st.data())
def test_any_split_and_order_of_the_decisions_gives_the_same_sums(values, data) -> None:
    first = data.draw(st.integers(0, len(values)))
    second = data.draw(st.integers(first, len(values)))
    pieces = [GroupSums.of(v) for v in (values[:first], values[first:second], values[second:])]
    whole = GroupSums.of(values)
    flat = np.nonzero(values)
    sparse = GroupSums.of_sparse(len(values), 3, flat[1], values[flat])
    for sums in (
        (pieces[0] + pieces[1]) + pieces[2],
        pieces[0] + (pieces[1] + pieces[2]),
        merged(reversed(pieces)),
        merged([GroupSums.empty(3), sparse]),
    ):
        assert sums.n == whole.n
        np.testing.assert_array_equal(sums.fired, whole.fired)
        np.testing.assert_allclose(sums.mean, values.astype(float).mean(0), rtol=1e-12)
        expected = values.astype(float).var(0, ddof=1)
        np.testing.assert_allclose(sums.variance, expected, rtol=1e-9, atol=1e-9)


def test_sums_on_the_device_are_the_hosts_and_the_same_bits_with_any_threads() -> None:
    values = activations(12, 700, 300) * np.logspace(-6, 6, 300, dtype=np.float32)
    expected, found = GroupSums.of(values), []
    threads = torch.get_num_threads()
    for count in (1, 2, 1):
        torch.set_num_threads(count)
        running = RunningSums(300)
        for batch in torch.from_numpy(values).split(256):
            running.add(batch)
        found.append(running.result())
    torch.set_num_threads(threads)
    for sums in found:
        assert sums.n == 700
        np.testing.assert_array_equal(sums.fired, expected.fired)
        np.testing.assert_allclose(sums.total, expected.total, rtol=1e-13)
        np.testing.assert_allclose(sums.total_squared, expected.total_squared, rtol=1e-13)
        np.testing.assert_array_equal(sums.total, found[0].total)
        np.testing.assert_array_equal(sums.total_squared, found[0].total_squared)


def test_summing_leaves_the_activations_as_they_were() -> None:
    values = torch.from_numpy(activations(2, 5, 3)).double()
    before = values.clone()
    RunningSums(3).add(values)
    assert torch.equal(values, before)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_failed_forward_is_not_counted(wrong: float) -> None:
    running = RunningSums(3)
    running.add(torch.ones(4, 3))
    assert running.result().total.tolist() == [4, 4, 4]
    running.add(torch.tensor([[1.0, wrong, 2.0]]))
    with pytest.raises(BadInput, match="1 of 3 features have activations that are NaN"):
        running.result()


def test_float32_sums_would_not_do() -> None:
    values = np.full((20_000, 1), 1000.0, np.float32) + activations(3, 20_000, 1)
    expected = values.astype(float).var(0, ddof=1)
    np.testing.assert_allclose(GroupSums.of(values).variance, expected, rtol=1e-6)


def test_a_row_that_stands_for_several_decisions_counts_as_often() -> None:
    values, times = activations(21, 30, 8), np.random.default_rng(3).integers(0, 4, 30)
    running = RunningSums(8)
    running.add(torch.from_numpy(values), torch.from_numpy(times))
    found, expected = running.result(), GroupSums.of(values.repeat(times, axis=0))
    assert found.n == expected.n
    np.testing.assert_array_equal(found.fired, expected.fired)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.variance, expected.variance, rtol=1e-9)


def test_sums_survive_the_store_and_merge_only_with_their_like() -> None:
    groups = {
        "risky": GroupSums.of(activations(4, 9, 5)),
        "safe": GroupSums.of(activations(5, 8, 5)),
    }
    states = {group: GroupSums.of(activations(6, 3, 5)) for group in groups}
    table = conform(kind_of("sums"), sums_table("m", 7, groups, states))
    for back, expected in (
        (sums_of_table(table), groups),
        (sums_of_table(table, "states"), states),
    ):
        assert list(back) == [7]
        for group, sums in expected.items():
            assert back[7][group].n == sums.n
            for field in ("total", "total_squared", "fired"):
                np.testing.assert_array_equal(getattr(back[7][group], field), getattr(sums, field))
    with pytest.raises(Mismatch, match="5 and 4 features"):
        groups["risky"] + GroupSums.empty(4)
    with pytest.raises(BadInput, match="lack features"):
        sums_of_table(table.slice(2))


def test_features_that_cannot_be_tested_say_why_and_carry_no_number() -> None:
    risky, safe = activations(6, 30, 5), activations(7, 40, 5)
    risky[:, 0] = safe[:, 0] = 0  # dead
    risky[:, 1] = safe[:, 1] = 2.5  # constant
    risky[:, 2], safe[:, 2] = 0, 0
    risky[:4, 2] = 9  # fires too rarely
    safe[:, 3] = 0  # fires in one group only: tested
    frame = compare(risky, safe)
    assert list(frame["reason"][:3]) == ["fired_too_rarely", "no_variance", "fired_too_rarely"]
    assert list(frame["status"]) == ["not_tested"] * 3 + ["tested"] * 2
    assert frame.loc[:2, ["d", "t", "df", "p", "log_p", "q"]].isna().all(axis=None)
    assert np.isfinite(frame.loc[3:, ["d", "t", "df", "p", "log_p", "q"]].to_numpy()).all()
    conform(kind_of("statistics"), table_of("statistics", frame))
    small = compare(risky[:9], safe)
    assert set(small["reason"]) == {"group_too_small"} and small["p"].isna().all()
    with pytest.raises(BadInput, match="1 risky"):
        compare(risky[:1], safe)


def test_spread_that_is_only_rounding_is_no_variance() -> None:
    risky = np.full((30, 1), 1e4) + np.random.default_rng(1).normal(0, 1e-4, (30, 1))
    assert compare(risky, risky + 1e-3)["reason"].iloc[0] == "no_variance"


def test_underflow_is_flagged_and_still_ordered() -> None:
    random = np.random.default_rng(8)
    base = np.abs(random.normal(1, 0.01, (4000, 2)))
    frame = compare(base + [8.0, 20.0], base)
    assert list(frame["p"]) == [0, 0] and frame["p_underflow"].all()
    assert frame["log_p"].iloc[1] < frame["log_p"].iloc[0] < -1000


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(float("nan"))), min_size=1, max_size=40))
def test_benjamini_hochberg_is_monotone_bounded_and_blind_to_untested(p: list[float]) -> None:
    values = np.array(p)
    q = benjamini_hochberg(values)
    tested = ~np.isnan(values)
    assert (np.isnan(q) == ~tested).all()
    order = np.argsort(values[tested])
    assert (np.diff(q[tested][order]) >= 0).all()
    assert ((q[tested] >= values[tested]) & (q[tested] <= 1)).all()
    np.testing.assert_array_equal(q[tested], benjamini_hochberg(values[tested]))


def test_correction_runs_over_all_layers_at_once() -> None:
    a, b = activations(9, 30, 50), activations(10, 30, 50)
    groups = {"risky": GroupSums.of(a), "safe": GroupSums.of(b)}
    one = compare_features({1: groups}, RULES, model="m", sae="s")
    null = {"risky": GroupSums.of(b), "safe": GroupSums.of(b[::-1])}  # equal groups: every p is 1
    both = compare_features({1: groups, 2: null}, RULES, model="m", sae="s")
    smallest = one["p"].idxmin()
    assert both["q"][smallest] == pytest.approx(min(1, 2 * one["q"][smallest]))


def test_labels_at_random_give_no_more_findings_than_the_rate_allows() -> None:
    values = activations(11, 240, 400)
    families = 0
    for seed in range(40):
        mixed = np.random.default_rng(seed).permutation(values)
        families += bool((compare(mixed[:80], mixed[80:])["q"] <= 0.05).any())
    # With every null true, BH's FDR is the chance of any finding; 40 x .05 = 2, P(> 7) < .001.
    assert families <= 7
