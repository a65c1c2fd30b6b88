"""The laws: exact moments, support and density, and whether what is drawn follows them.

Every draw has a fixed seed. Moments are held to five standard errors, Kolmogorov-Smirnov tests to p > 1e-5
on 200,000 draws, which tells a truncated normal from a plain one of the same variance (see the first test
of that section).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from winit.fields import Refused
from winit.laws import TRUNCATED_STDDEV, Array, Constant, Law, Normal, Orthogonal, TruncatedNormal, Uniform, _within

DRAWS = 200_000
SMALLEST_P = 1e-5

NORMALS = [Normal(0.0, 1.0), Normal(0.7, 0.05), Normal(-3.0, 40.0)]
TRUNCATED = [TruncatedNormal(1.0), TruncatedNormal(0.05), TruncatedNormal(30.0)]
UNIFORMS = [Uniform(-0.05, 0.05), Uniform(0.0, 1.0), Uniform(-3.0, 40.0)]
ORTHOGONAL = [Orthogonal(1.0, 2), Orthogonal(1.5, 3), Orthogonal(0.1, 4), Orthogonal(1.4142135623730951, 64)]
WITH_DENSITY: list[Law] = [*NORMALS, *TRUNCATED, *UNIFORMS, *ORTHOGONAL]
POINT_MASSES: list[Law] = [
    Constant(0.0),
    Constant(-0.3),
    Normal(0.25, 0.0),
    Orthogonal(1.5, 1),
    Orthogonal(0.0, 5),
]


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _reference(law: Law) -> stats.rv_continuous:
    """Return scipy's distribution of the same law (for orthogonal entries: of the squared entry over gain^2)."""
    if isinstance(law, Normal):
        return stats.norm(law.mu, law.sigma)
    if isinstance(law, TruncatedNormal):
        return stats.truncnorm(-2, 2, scale=law.sigma / stats.truncnorm(-2, 2).std())
    if isinstance(law, Uniform):
        return stats.uniform(law.low, law.high - law.low)
    assert isinstance(law, Orthogonal)
    return stats.beta(0.5, (law.n - 1) / 2)


def _entries(law: Law, count: int, seed: int = 0) -> Array:
    """Return `count` independent entries; of an orthogonal law one per matrix, n x 2 (or n x 1)."""
    if isinstance(law, Orthogonal):
        matrices = law.sample((count, law.n, min(2, law.n)), _generator(seed))
        return matrices[:, -1, -1].double().numpy()
    return law.sample((count,), _generator(seed)).double().numpy()


def _density_at(law: Law) -> Callable[[float], float]:
    return lambda x: float(law.density(np.array([x]))[0])


def _moment(law: Law, power: int) -> float:
    """Return E (x - mean)^power by integrating the density, in the angle where it is infinite at its ends."""
    density = _density_at(law)
    error = 1e-10 * law.standard_deviation**power
    if isinstance(law, Orthogonal):

        def integrand(angle: float) -> float:
            x = law.gain * math.sin(angle)
            return density(x) * x**power * law.gain * math.cos(angle)

        return float(integrate.quad(integrand, -math.pi / 2, math.pi / 2, epsabs=error, epsrel=0, limit=200)[0])
    low = max(law.minimum, law.mean - 12 * law.standard_deviation)
    high = min(law.maximum, law.mean + 12 * law.standard_deviation)
    value = integrate.quad(
        lambda x: density(x) * (x - law.mean) ** power, low, high, epsabs=error, epsrel=0, points=[law.mean], limit=200
    )
    return float(value[0])


def test_truncated_stddev_is_that_of_a_normal_cut_at_two() -> None:
    assert pytest.approx(stats.truncnorm(-2, 2).std(), rel=1e-13) == TRUNCATED_STDDEV
    phi, cdf = stats.norm.pdf(2), stats.norm.cdf(2)
    assert pytest.approx(math.sqrt(1 - 2 * 2 * phi / (2 * cdf - 1)), rel=1e-13) == TRUNCATED_STDDEV


# Moments, support, density


@pytest.mark.parametrize("law", [*NORMALS, *TRUNCATED, *UNIFORMS], ids=repr)
def test_moments_support_and_density_are_those_of_scipy(law: Law) -> None:
    reference = _reference(law)
    assert law.mean == pytest.approx(reference.mean(), rel=1e-12, abs=1e-15 * law.standard_deviation)
    assert law.variance == pytest.approx(reference.var(), rel=1e-12)
    assert law.standard_deviation == pytest.approx(reference.std(), rel=1e-12)
    assert (law.minimum, law.maximum) == pytest.approx(reference.support(), rel=1e-12)
    x = law.mean + law.standard_deviation * np.linspace(-4, 4, 401)
    np.testing.assert_allclose(law.density(x), reference.pdf(x), rtol=1e-10, atol=0)
    assert law.no_density is None


@pytest.mark.parametrize("law", ORTHOGONAL, ids=repr)
def test_moments_and_density_of_an_orthogonal_entry_follow_from_the_beta_law(law: Orthogonal) -> None:
    squared = _reference(law)
    assert law.mean == 0
    assert law.variance == pytest.approx(law.gain**2 * squared.mean(), rel=1e-12)
    assert (law.minimum, law.maximum) == (-law.gain, law.gain)
    # x = +-gain sqrt u: p(x) = p_u(u) |du/dx| / 2 = p_u(u) |x| / gain^2
    x = law.gain * np.linspace(0.01, 0.99, 99)
    expected = squared.pdf((x / law.gain) ** 2) * x / law.gain**2
    np.testing.assert_allclose(law.density(x), expected, rtol=1e-10)
    np.testing.assert_allclose(law.density(-x), expected, rtol=1e-10)
    assert law.no_density is None


@pytest.mark.parametrize("law", WITH_DENSITY, ids=repr)
def test_density_integrates_to_one_and_gives_mean_and_variance(law: Law) -> None:
    assert _moment(law, 0) == pytest.approx(1, rel=1e-8)
    assert _moment(law, 2) == pytest.approx(law.variance, rel=1e-8)
    assert abs(_moment(law, 1)) < 1e-8 * law.standard_deviation


@pytest.mark.parametrize("law", [*TRUNCATED, *UNIFORMS, *ORTHOGONAL], ids=repr)
def test_density_is_zero_outside_the_support_and_positive_inside(law: Law) -> None:
    beyond = np.array([law.minimum - 1e-9, law.maximum + 1e-9, law.minimum - 100, law.maximum + 100])
    np.testing.assert_array_equal(law.density(beyond), np.zeros(4))
    span = law.maximum - law.minimum
    assert (law.density(np.linspace(law.minimum + 1e-6 * span, law.maximum - 1e-6 * span, 101)) > 0).all()


def test_density_of_an_orthogonal_entry_at_its_ends() -> None:
    ends = np.array([-2.0, 2.0])
    assert np.isposinf(Orthogonal(2.0, 2).density(ends)).all()  # arcsine law
    np.testing.assert_allclose(Orthogonal(2.0, 3).density(ends), [0.25, 0.25])  # uniform, after Archimedes
    np.testing.assert_array_equal(Orthogonal(2.0, 4).density(ends), [0.0, 0.0])


@pytest.mark.parametrize("law", POINT_MASSES, ids=repr)
def test_laws_without_a_density_say_why_and_give_nan(law: Law) -> None:
    assert law.no_density
    assert np.isnan(law.density(np.linspace(-2, 2, 5))).all()


@pytest.mark.parametrize("value", [0.0, -0.3, 1e30])
def test_constant(value: float) -> None:
    law = Constant(value)
    assert (law.mean, law.variance, law.minimum, law.maximum) == (value, 0, value, value)
    draw = law.sample((3, 4), _generator())
    assert draw.shape == (3, 4)
    assert (draw == np.float32(value)).all()


def test_normal_of_no_width_is_a_constant() -> None:
    law = Normal(0.25, 0.0)
    assert (law.mean, law.variance, law.minimum, law.maximum) == (0.25, 0, 0.25, 0.25)
    assert (law.sample((50, 50), _generator()) == 0.25).all()


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.nan), (0.0, -0.0)])
def test_uniform_wants_its_ends_in_order(low: float, high: float) -> None:
    with pytest.raises(Refused, match="minval below maxval"):
        Uniform(low, high)


# What is drawn


@pytest.mark.parametrize("law", [*WITH_DENSITY, *POINT_MASSES], ids=repr)
def test_draws_are_float32_of_the_asked_shape_and_repeatable(law: Law) -> None:
    n = law.n if isinstance(law, Orthogonal) else 7
    for size in ((n, 2), (2, n), (n, n), (3, n, 2)):
        if isinstance(law, Orthogonal) and max(size[-2:]) != n:
            continue
        draw = law.sample(size, _generator(5))
        assert draw.shape == size
        assert draw.dtype == torch.float32
        assert draw.is_contiguous()
        assert torch.equal(draw, law.sample(size, _generator(5)))


@pytest.mark.parametrize("law", WITH_DENSITY, ids=repr)
def test_draws_differ_from_seed_to_seed_and_leave_the_global_generator_alone(law: Law) -> None:
    before = torch.random.get_rng_state()
    first, second = _entries(law, 10, seed=1), _entries(law, 10, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (first != second).all()


@pytest.mark.parametrize("law", WITH_DENSITY, ids=repr)
def test_sample_moments_lie_within_five_standard_errors(law: Law) -> None:
    count = DRAWS
    x = _entries(law, count, seed=11)
    kurtosis = _moment(law, 4) / law.variance**2
    assert abs(x.mean() - law.mean) < 5 * law.standard_deviation / math.sqrt(count)
    error = law.variance * math.sqrt((kurtosis - 1) / count)
    assert abs(np.mean((x - law.mean) ** 2) - law.variance) < 5 * error
    if isinstance(law, TruncatedNormal | Uniform):  # the ends are reached, too
        assert x.max() > law.maximum - 0.001 * law.standard_deviation
        assert x.min() < law.minimum + 0.001 * law.standard_deviation


def test_the_kolmogorov_smirnov_test_tells_laws_of_equal_variance_apart() -> None:
    truncated, normal = TruncatedNormal(1.0), Normal(0.0, 1.0)
    uniform = Uniform(-math.sqrt(3), math.sqrt(3))
    for drawn in (truncated, normal, uniform):
        for asked in (truncated, normal, uniform):
            p = stats.kstest(_entries(drawn, DRAWS, seed=12), _reference(asked).cdf, method="asymp").pvalue
            assert (p > SMALLEST_P) == (drawn is asked)
    # ... and a standard deviation that is 2 % off, as it would be with another correction.
    p = stats.kstest(_entries(truncated, DRAWS, seed=12), _reference(TruncatedNormal(1.02)).cdf, method="asymp").pvalue
    assert p < SMALLEST_P


@pytest.mark.parametrize("law", [*NORMALS, *TRUNCATED, *UNIFORMS], ids=repr)
def test_draws_follow_the_exact_distribution_function(law: Law) -> None:
    x = _entries(law, DRAWS, seed=13)
    assert stats.kstest(x, _reference(law).cdf, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("law", ORTHOGONAL, ids=repr)
def test_squared_orthogonal_entries_follow_the_beta_law(law: Orthogonal) -> None:
    x = _entries(law, 20_000, seed=14)  # one entry of each of so many matrices
    assert stats.kstest((x / law.gain) ** 2, _reference(law).cdf, method="asymp").pvalue > SMALLEST_P
    positive = np.count_nonzero(x > 0)
    assert abs(positive - 10_000) < 5 * math.sqrt(20_000 / 4)


@pytest.mark.parametrize("position", [(0, 0), (0, 2), (2, 0), (4, 2), (3, 1)])
@pytest.mark.parametrize("is_wide", [False, True])
def test_every_entry_of_an_orthogonal_matrix_has_the_same_law(position: tuple[int, int], is_wide: bool) -> None:
    matrices = Orthogonal(1.0, 5).sample((20_000, 3, 5) if is_wide else (20_000, 5, 3), _generator(15))
    row, column = reversed(position) if is_wide else position
    x = matrices[:, row, column].double().numpy()
    # x = sqrt u with a random sign: its distribution function from that of u.
    squared = stats.beta(0.5, 2)
    assert stats.kstest(x, lambda v: 0.5 + 0.5 * np.sign(v) * squared.cdf(v**2), method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("size", [(5, 5), (3, 7), (7, 3), (1, 4), (4, 1), (1, 1), (64, 64), (10, 3, 6), (10, 6, 3)])
@pytest.mark.parametrize("gain", [1.0, 1.4142135623730951, 0.01, 0.0])
def test_orthogonal_matrices_have_orthonormal_rows_or_columns_times_the_gain(
    size: tuple[int, ...], gain: float
) -> None:
    rows, columns = size[-2:]
    w = Orthogonal(gain, max(rows, columns)).sample(size, _generator(16)).double()
    product = w @ w.mT if rows <= columns else w.mT @ w
    identity = torch.eye(min(rows, columns), dtype=torch.float64)
    torch.testing.assert_close(product, (gain**2 * identity).expand_as(product), rtol=0, atol=2e-6 * gain**2)


def test_orthogonal_of_side_one_is_a_fair_sign() -> None:
    x = Orthogonal(0.5, 1).sample((20_000, 1, 1), _generator(17)).flatten()
    assert set(x.tolist()) == {-0.5, 0.5}
    assert abs(int((x > 0).sum()) - 10_000) < 5 * math.sqrt(20_000 / 4)


def test_signs_of_r_make_the_matrix_haar_distributed() -> None:
    """E tr Q = 0, E (tr Q)^2 = 1 and E (tr Q)^4 = 3 over the orthogonal group O(4) (Diaconis & Shahshahani 1994).

    QR alone, whose R has a diagonal of fixed sign, fails this widely.
    """
    count = 40_000

    def z_scores(matrices: torch.Tensor) -> tuple[float, float]:
        trace = torch.diagonal(matrices.double(), dim1=-2, dim2=-1).sum(dim=-1)
        mean, square = float(trace.mean()), float(trace.square().mean())
        return mean * math.sqrt(count), (square - 1) * math.sqrt(count / (3 - 1))

    haar = Orthogonal(1.0, 4).sample((count, 4, 4), _generator(18))
    assert all(abs(score) < 5 for score in z_scores(haar))
    bare = torch.linalg.qr(torch.empty(count, 4, 4).normal_(generator=_generator(18)))[0]
    assert abs(z_scores(bare)[0]) > 50
    reflections = int((torch.linalg.det(haar.double()) < 0).sum())  # both halves of the group
    assert abs(reflections - count / 2) < 5 * math.sqrt(count / 4)


# Bounds

SCALES = st.floats(1e-30, 1e30)


@given(st.floats(-1e30, 1e30), SCALES)
@example(-0.05, 0.1)
@example(0.1, 0.1)
@example(100.1, 0.0001)
@example(-2 * 0.05 / TRUNCATED_STDDEV, 4 * 0.05 / TRUNCATED_STDDEV)
def test_clamping_gives_the_outermost_float32_numbers_of_the_support(low: float, width: float) -> None:
    assume(width > 5e-7 * abs(low))  # some float32 numbers lie between
    high = low + width
    ends = _within(torch.tensor([-math.inf, math.inf]), low, high)
    first, last = ends.double().tolist()
    assert low <= first < last <= high
    beyond = torch.nextafter(ends, torch.tensor([-math.inf, math.inf])).double()
    assert beyond[0] < low
    assert beyond[1] > high


@settings(deadline=None)
@given(SCALES, st.integers(0, 2**31 - 1))
@example(0.05, 0)
@example(math.sqrt(2 / 64), 0)
def test_truncated_draws_never_leave_the_bounds(sigma: float, seed: int) -> None:
    law = TruncatedNormal(sigma)
    draw = law.sample((64, 64), _generator(seed)).double()
    assert draw.min() >= law.minimum
    assert draw.max() <= law.maximum


@settings(deadline=None)
@given(st.floats(-1e30, 1e30), SCALES, st.integers(0, 2**31 - 1))
@example(-0.05, 0.1, 0)
@example(0.1, 0.2, 0)
@example(100.1, 0.0001, 0)
@example(-100.2, 0.0001, 0)
def test_uniform_draws_never_leave_the_bounds(low: float, width: float, seed: int) -> None:
    assume(low + width <= 1e30)
    assume(width > 5e-7 * abs(low))  # some float32 numbers lie between
    law = Uniform(low, low + width)
    draw = law.sample((64, 64), _generator(seed)).double()
    assert draw.min() >= law.minimum
    assert draw.max() <= law.maximum


@pytest.mark.parametrize("seed", range(3))
def test_a_million_draws_of_he_normal_stay_within_the_bounds(seed: int) -> None:
    law = TruncatedNormal(math.sqrt(2 / 64))
    draw = law.sample((1_000_000,), _generator(seed)).double()
    assert law.minimum <= draw.min() < -1.999 * law.parent
    assert 1.999 * law.parent < draw.max() <= law.maximum


@pytest.mark.parametrize("n", [1, 2, 3, 64])
@pytest.mark.parametrize("gain", [0.1, 1.0, 1.4142135623730951, 1e15])
def test_orthogonal_entries_pass_the_gain_by_rounding_at_most(n: int, gain: float) -> None:
    draw = Orthogonal(gain, n).sample((2000, n, min(n, 2)), _generator(19)).double()
    assert draw.abs().max() <= gain * (1 + 4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("law", [Normal(0.0, 1e-200), TruncatedNormal(1e-200), Orthogonal(2e-200, 4)], ids=repr)
def test_standard_deviation_survives_where_its_square_underflows(law: Law) -> None:
    assert law.standard_deviation == pytest.approx(1e-200, rel=1e-12, abs=0)


def test_distribution_function_of_the_truncated_draw() -> None:
    """The draw is the inverse of the distribution function: its quantiles are scipy's."""
    law = TruncatedNormal(0.3)
    levels = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
    x = np.quantile(_entries(law, 1_000_000, seed=20), levels)
    exact = _reference(law).ppf(levels)
    error = np.sqrt(levels * (1 - levels) / 1_000_000) / law.density(exact)
    assert (np.abs(x - exact) < 5 * error).all()
    assert special.erf(math.sqrt(2)) == pytest.approx(stats.norm.cdf(2) - stats.norm.cdf(-2))
