"""The laws: exact moments, support, density and distribution function, and whether what is drawn follows them.

Every draw has a fixed seed. Moments are held to five standard errors, Kolmogorov-Smirnov tests to p > 1e-5
on 200,000 draws, which tells a truncated normal from a plain one of the same variance (see the first test
of that section).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import integrate, special, stats

from winit.fields import Refused
from winit.laws import (
    TRUNCATED_STDDEV,
    Array,
    Atoms,
    Beta21,
    Constant,
    CubeDirection,
    Laplace,
    Law,
    Mixture,
    Normal,
    Orthogonal,
    Rademacher,
    Sparse,
    StudentT,
    TruncatedNormal,
    TwoPointSparse,
    Uniform,
    Unknown,
    _within,
)

DRAWS = 200_000
SMALLEST_P = 1e-5

corrected = TruncatedNormal.corrected
NORMALS = [Normal(0.0, 1.0), Normal(0.7, 0.05), Normal(-3.0, 40.0)]
CORRECTED = [corrected(1.0), corrected(0.05), corrected(30.0)]
CUT = [
    *CORRECTED,
    TruncatedNormal.at(0.1, 0.05, -2.0, 2.0),
    TruncatedNormal.at(0.0, 0.01, -1.0, 3.0),
    TruncatedNormal(0.5, 2.0, -1.0, 8.0),
    TruncatedNormal(0.0, 1.0, -2.5, 3.5),
    TruncatedNormal(0.0, 1.0, 0.0, 1.0),
    TruncatedNormal(0.0, 1.0, 3.0, 5.0),
    TruncatedNormal(2.0, 0.5, -1.0, -0.5),
]
FAR = [  # far bounds, far tails, narrow cuts
    TruncatedNormal(0.0, 0.02, -2.0, 2.0),
    TruncatedNormal(0.3, 1.0, -math.inf, math.inf),
    TruncatedNormal(0.0, 1.0, 3.0, math.inf),
    TruncatedNormal(0.0, 1.0, 30.0, 31.0),
    TruncatedNormal.at(0.0, 0.05, 50.0, 100.0),
    TruncatedNormal.at(0.0, 0.05, -40.0, -39.0),
    TruncatedNormal(-0.5, 1e-7, 0.0, 0.5),
    TruncatedNormal(0.0, 1.0, 0.5, 0.50001),
    TruncatedNormal(0.0, 1e30, 1.0, 2.0),
    TruncatedNormal(-1e22, 1e15, 0.0, 1e30),
]
UNIFORMS = [Uniform(-0.05, 0.05), Uniform(0.0, 1.0), Uniform(-3.0, 40.0)]
TAILS = [Laplace(1.0), Laplace(0.02), StudentT(1.0, 3.5), StudentT(0.1, 5.0), StudentT(2.0, 12.0)]
ORTHOGONAL = [Orthogonal(1.0, 2), Orthogonal(1.5, 3), Orthogonal(0.1, 4), Orthogonal(1.4142135623730951, 64)]
WITH_DENSITY: list[Law] = [*NORMALS, *CUT, *UNIFORMS, *TAILS, Beta21(), *ORTHOGONAL]
MIXED = [
    Sparse(Normal(0.0, 0.3), 0.9),
    Sparse(Normal(1.0, 0.1), 0.25),
    Sparse(Uniform(0.0, 2.0), 0.5),
    Sparse(Orthogonal(1.5, 4), 0.5),
    Sparse(TwoPointSparse(0.5, 0.5), 0.5),
    Mixture(((Constant(0.5), 0.2), (corrected(0.1), 0.3), (Beta21(), 0.25), (Laplace(0.3), 0.25))),
    Mixture(((Sparse(Normal(-1.0, 0.5), 0.3), 0.6), (Rademacher(1.0), 0.4))),
    Mixture(((Normal(-1.0, 0.1), 0.5), (Normal(2.0, 0.4), 0.5))),
]
POINT_MASSES: list[Law] = [
    Constant(0.0),
    Constant(-0.3),
    Normal(0.25, 0.0),
    Laplace(0.0),
    StudentT(0.0, 3.0),
    Orthogonal(1.5, 1),
    Orthogonal(0.0, 5),
    CubeDirection(1.5, 1),
    Sparse(Constant(0.5), 1.0),
    Rademacher(0.5),
    TwoPointSparse(0.5, 0.1),
    Atoms(((-1.0, 0.2), (0.25, 0.5), (3.0, 0.3))),
]
CUBES = [CubeDirection(1.5, 2), CubeDirection(0.1, 3), CubeDirection(1.0, 64)]
WITHOUT_DENSITY: list[Law] = [*POINT_MASSES, MIXED[4], *CUBES, Unknown("it depends on data")]


@pytest.fixture(autouse=True, scope="module")
def _denormal_numbers() -> None:
    """Training and measuring make the thread flush denormal numbers; Hypothesis draws them."""
    torch.set_flush_denormal(False)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _reference(law: Law) -> stats.rv_continuous:
    """Return scipy's distribution of the same law."""
    match law:
        case Normal():
            return stats.norm(law.mu, law.sigma)
        case TruncatedNormal():
            low, high = ((end - law.mu) / law.parent for end in law.support)
            return stats.truncnorm(low, high, law.mu, law.parent)
        case Uniform():
            return stats.uniform(law.low, law.high - law.low)
        case Laplace():
            return stats.laplace(scale=law.sigma / math.sqrt(2))
        case StudentT():
            return stats.t(law.nu, scale=law.sigma / stats.t(law.nu).std())
        case Beta21():
            return stats.beta(2, 1)
    assert isinstance(law, Orthogonal)
    return stats.beta((law.n - 1) / 2, (law.n - 1) / 2, -law.gain, 2 * law.gain)


def _entries(law: Law, count: int, seed: int = 0) -> Array:
    """Return `count` independent entries: the last of each of so many rows or matrices, where these are drawn whole."""
    whole = law.parts[-1][0] if isinstance(law, Mixture) else law
    sides: tuple[int, ...] = ()
    if isinstance(whole, Orthogonal | CubeDirection):
        sides = (min(2, whole.n), whole.n)[-whole.axes :]
    return law.sample((count, *sides), _generator(seed)).reshape(count, -1)[:, -1].double().numpy()


def _breaks(law: Law) -> set[float]:
    """Return where an integral of the density has to stop: ends, kinks, and on the way into tails."""
    if isinstance(law, Mixture):
        return set().union(*(_breaks(part) for part, _ in law.parts))
    steps = law.mean + law.standard_deviation * np.array([-40, -12, -4, -1, 0, 1, 4, 12, 40])
    return set(np.clip(steps, law.minimum, law.maximum).tolist())


def _integral(law: Law, function: Callable[[float], float], low: float = -math.inf, high: float = math.inf) -> float:
    """Return the expectation of `function` from low to high, by integrating the density and adding the atoms."""
    ends = sorted({low, high, *(point for point in _breaks(law) if low < point < high)})
    if law.no_density:
        continuous = 0.0
    elif isinstance(law, Orthogonal):  # in the angle: the density may be infinite at its ends
        angles = np.arcsin(np.clip(np.array([low, high]) / law.gain, -1, 1))

        def integrand(angle: float) -> float:
            x = law.gain * math.sin(angle)
            return float(law.density(np.array([x]))[0]) * function(x) * law.gain * math.cos(angle)

        continuous = integrate.quad(integrand, *angles, epsabs=1e-13, epsrel=1e-10, limit=200)[0]
    else:
        continuous = math.fsum(
            integrate.quad(
                lambda x: float(law.density(np.array([x]))[0]) * function(x), *piece, epsabs=1e-13, epsrel=1e-10
            )[0]
            for piece in itertools.pairwise(ends)
        )
    return continuous + math.fsum(mass * function(value) for value, mass in law.atoms if low <= value <= high)


def _moment(law: Law, power: int) -> float:
    """Return E ((w - mean) / standard deviation)^power, integrated."""
    return _integral(law, lambda x: ((x - law.mean) / law.standard_deviation) ** power)


def _relative(law: Law) -> tuple[float, float, float, float]:
    return law.mean, law.standard_deviation, law.skewness, law.kurtosis


def _cut_moments(law: TruncatedNormal) -> tuple[float, ...]:
    """Return mean, standard deviation, skewness and kurtosis of a cut normal, integrated with 40 digits."""
    with mpmath.workdps(40):
        low, high = ((mpmath.mpf(end) - law.mu) / mpmath.mpf(law.parent) for end in law.support)
        mode = max(low, min(high, mpmath.mpf(0)))
        reach = 300 / (abs(mode) + mpmath.sqrt(mode**2 + 300))
        start, end = max(low, mode - reach), min(high, mode + reach)

        def mean_of(function: Callable[[mpmath.mpf], mpmath.mpf]) -> mpmath.mpf:
            """Return the mean of a function of the place in [start, end], from 0 to 1."""

            def density(place: mpmath.mpf) -> mpmath.mpf:
                t = start - mode + (end - start) * place
                return mpmath.exp(-t * (t / 2 + mode))

            pieces = mpmath.linspace(0, 1, 9)
            return mpmath.quad(lambda x: function(x) * density(x), pieces) / mpmath.quad(density, pieces)

        mean = mean_of(lambda x: x)
        second, third, fourth = (mean_of(lambda x, k=k: (x - mean) ** k) for k in (2, 3, 4))
        return (
            float(law.mu + law.parent * (start + (end - start) * mean)),
            float(law.parent * (end - start) * mpmath.sqrt(second)),
            float(third / second ** mpmath.mpf(1.5)),
            float(fourth / second**2),
        )


def test_truncated_stddev_is_that_of_a_normal_cut_at_two() -> None:
    assert pytest.approx(stats.truncnorm(-2, 2).std(), rel=1e-13) == TRUNCATED_STDDEV
    phi, cdf = stats.norm.pdf(2), stats.norm.cdf(2)
    assert pytest.approx(math.sqrt(1 - 2 * 2 * phi / (2 * cdf - 1)), rel=1e-13) == TRUNCATED_STDDEV


# Moments, support, density, distribution function


@pytest.mark.parametrize("law", WITH_DENSITY, ids=repr)
def test_support_density_and_distribution_function_are_those_of_scipy(law: Law) -> None:
    reference = _reference(law)
    assert (law.minimum, law.maximum) == pytest.approx(reference.support(), rel=1e-12)
    x = law.mean + law.standard_deviation * np.linspace(-4, 4, 401)
    x = x[np.minimum(abs(x - law.minimum), abs(x - law.maximum)) > 1e-9 * law.standard_deviation]
    np.testing.assert_allclose(law.density(x), reference.pdf(x), rtol=1e-10, atol=0)
    np.testing.assert_allclose(law.cumulative(x), reference.cdf(x), rtol=1e-10, atol=1e-15)
    assert law.no_density is None
    assert law.atoms == ()
    assert law.zero_fraction == 0


@pytest.mark.parametrize("law", [law for law in WITH_DENSITY if law not in CUT], ids=repr)
def test_moments_are_those_of_scipy(law: Law) -> None:
    mean, variance, skewness, excess = _reference(law).stats("mvsk")
    assert law.mean == pytest.approx(mean, rel=1e-12, abs=1e-15 * law.standard_deviation)
    assert law.variance == pytest.approx(variance, rel=1e-12)
    assert law.standard_deviation == pytest.approx(math.sqrt(variance), rel=1e-12)
    assert law.skewness == pytest.approx(skewness, rel=1e-12, abs=1e-15)
    assert law.kurtosis == pytest.approx(3 + excess, rel=1e-12)


@pytest.mark.parametrize("law", [*CUT, *FAR], ids=repr)
def test_moments_of_a_truncated_normal_are_exact(law: TruncatedNormal) -> None:
    """scipy's closed forms lose digits in tails, all of them in narrow cuts."""
    mean, deviation, skewness, kurtosis = _cut_moments(law)
    assert law.mean == pytest.approx(mean, rel=1e-15, abs=1e-13 * deviation)
    assert law.standard_deviation == pytest.approx(deviation, rel=1e-13)
    assert law.skewness == pytest.approx(skewness, rel=1e-12, abs=1e-12)
    assert law.kurtosis == pytest.approx(kurtosis, rel=1e-12)


@pytest.mark.parametrize("law", FAR, ids=repr)
def test_density_and_distribution_function_of_far_cuts(law: TruncatedNormal) -> None:
    """Against the density itself, integrated: it adds up to one, and falls as that of a normal law does."""
    low, high = (law.mean + side * 4 * law.standard_deviation for side in (-1, 1))
    x = np.linspace(max(low, law.minimum), min(high, law.maximum), 21)
    mode = min(max(law.mu, law.minimum), law.maximum)
    decline = -(x - mode) / law.parent * ((x - mode) / 2 + mode - law.mu) / law.parent
    density = law.density(x)
    np.testing.assert_allclose(density, law.density(np.array(mode)) * np.exp(decline), rtol=1e-9)
    parts = [_integral(law, lambda _: 1.0, *piece) for piece in itertools.pairwise((law.minimum, *x[1:]))]
    np.testing.assert_allclose(law.cumulative(x[1:]), np.cumsum(parts), rtol=1e-8, atol=1e-12)
    assert law.cumulative(np.array([law.minimum, law.maximum])).tolist() == [0, 1]


@pytest.mark.parametrize("law", [*WITH_DENSITY, *MIXED, *POINT_MASSES], ids=repr)
def test_density_and_atoms_add_up_to_one_and_give_the_moments(law: Law) -> None:
    assert _integral(law, lambda _: 1.0) == pytest.approx(1, rel=1e-8)
    assert _integral(law, lambda x: x) == pytest.approx(law.mean, rel=1e-8, abs=1e-8 * law.standard_deviation)
    if law.standard_deviation == 0:
        assert math.isnan(law.kurtosis)
        assert math.isnan(law.skewness)
    elif law not in TAILS:  # whose higher moments lie beyond any range of integration; see those of scipy
        assert _moment(law, 2) == pytest.approx(1, rel=1e-8)
        assert _moment(law, 3) == pytest.approx(law.skewness, rel=1e-7, abs=1e-8)
        assert _moment(law, 4) == pytest.approx(law.kurtosis, rel=1e-7)


@pytest.mark.parametrize("law", [*WITH_DENSITY, *MIXED, *POINT_MASSES], ids=repr)
def test_distribution_function_is_the_integral_of_density_and_atoms(law: Law) -> None:
    values = [value for value, _ in law.atoms]
    x = np.array(sorted([*(law.mean + law.standard_deviation * np.linspace(-3.1, 3.3, 9)), *values]))
    expected = [_integral(law, lambda _: 1.0, high=point) for point in x]
    np.testing.assert_allclose(law.cumulative(x), expected, rtol=1e-8, atol=1e-9)
    jumps = law.cumulative(np.array(values)) - law.cumulative(np.nextafter(values, -math.inf))
    np.testing.assert_allclose(jumps, [mass for _, mass in law.atoms], rtol=1e-6)
    assert law.zero_fraction == pytest.approx(dict(law.atoms).get(0.0, 0.0))
    ends = law.cumulative(np.array([-1e6, 1e6]))
    np.testing.assert_allclose(ends, [0, 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("law", [*CUT, *UNIFORMS, Beta21(), *ORTHOGONAL], ids=repr)
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


@pytest.mark.parametrize("law", WITHOUT_DENSITY, ids=repr)
def test_laws_without_a_density_say_why_and_give_nan(law: Law) -> None:
    assert law.no_density
    assert np.isnan(law.density(np.linspace(-2, 2, 5))).all()


@pytest.mark.parametrize(
    ("law", "reason"),
    [
        (Constant(0.3), "all mass lies on one value"),
        (Orthogonal(0.0, 1), "all mass lies on one value"),
        (Orthogonal(0.5, 1), "all mass lies on two values"),
        (TwoPointSparse(1.0, 0.5), "all mass lies on 3 values"),
        (Sparse(Unknown("why"), 0.5), "why"),
        (Sparse(CubeDirection(1.0, 3), 0.5), CUBES[0].no_density),
        (Sparse(Sparse(Normal(0.0, 1.0), 0.5), 0.5), None),
    ],
    ids=repr,
)
def test_reason_for_having_no_density(law: Law, reason: str | None) -> None:
    assert law.no_density == reason
    assert np.isnan(law.density(np.ones(1))).all() == (reason is not None)


@pytest.mark.parametrize("value", [0.0, -0.3, 1e30])
def test_constant(value: float) -> None:
    law = Constant(value)
    assert (law.mean, law.variance, law.minimum, law.maximum) == (value, 0, value, value)
    assert law.atoms == ((value, 1.0),)
    assert law.zero_fraction == (value == 0)
    draw = law.sample((3, 4), _generator())
    assert draw.shape == (3, 4)
    assert (draw == np.float32(value)).all()


def test_normal_of_no_width_is_a_constant() -> None:
    law = Normal(0.25, 0.0)
    assert (law.mean, law.variance, law.minimum, law.maximum) == (0.25, 0, 0.25, 0.25)
    assert (law.sample((50, 50), _generator()) == 0.25).all()


def test_sign_laws_have_their_atoms_and_moments() -> None:
    assert Rademacher(0.5).atoms == ((-0.5, 0.5), (0.5, 0.5))
    assert _relative(Rademacher(0.5)) == (0, 0.5, 0, 1)
    law = TwoPointSparse(0.5, 0.25)
    assert law.atoms == ((-1.0, 0.125), (0.0, 0.75), (1.0, 0.125))
    assert _relative(law) == (0, 0.5, 0, 4)
    assert law.zero_fraction == 0.75
    assert TwoPointSparse(0.5, 1.0).atoms == Rademacher(0.5).atoms


def test_a_law_is_read_off_a_matrix() -> None:
    assert Atoms.of(np.eye(4)).atoms == ((0.0, 0.75), (1.0, 0.25))
    assert Atoms.of(torch.tensor([[0.5, -0.5], [0.5, 0.5]])).atoms == ((-0.5, 0.25), (0.5, 0.75))
    matrix = np.array([[1.0, 2.0, 2.0], [5.0, 1.0, 1.0]])
    law = Atoms.of(matrix)
    assert _relative(law) == pytest.approx(
        (matrix.mean(), matrix.std(), stats.skew(matrix, axis=None), stats.kurtosis(matrix, axis=None) + 3), rel=1e-12
    )
    assert law.support == (1.0, 5.0)
    assert Atoms.of(np.full((3, 7), 0.1)) == Atoms(((0.1, 1.0),))


def test_equal_and_weightless_parts_of_a_mixture_are_joined_and_left_out() -> None:
    law = Mixture(((Constant(0.1), 0.1), (StudentT(1.0, 3.0), 0.0), (Constant(0.1), 0.2), (Constant(0.1), 0.7)))
    assert law == Mixture(((Constant(0.1), 1.0),))
    assert (law.mean, law.standard_deviation, law.support) == (0.1, 0, (0.1, 0.1))
    assert Sparse(Normal(0.0, 2.0), 0.0).kurtosis == 3
    assert math.isinf(Sparse(StudentT(1.0, 3.0), 0.5).kurtosis)


def test_moments_of_a_sparse_normal_in_closed_form() -> None:
    law = Sparse(Normal(0.0, 2.0), 0.9)
    assert _relative(law) == pytest.approx((0, 2 * math.sqrt(0.1), 0, 30), rel=1e-14)
    assert law.atoms == ((0.0, 0.9),)
    assert law.support == (-math.inf, math.inf)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_kurtosis_of_a_direction_in_a_cube(n: int) -> None:
    """The fraction w^4 does not depend on |u|: its mean over the cube is that over the cube's faces u_k = 1."""
    nodes, weights = np.polynomial.legendre.leggauss(16)
    face = np.meshgrid(*[(nodes + 1) ** 2 / 4 for _ in range(n - 1)])  # squares, on a grid of a face
    mass = math.prod(np.meshgrid(*[weights / 2 for _ in range(n - 1)]))
    total = (1 + sum(face)) ** 2
    fourth = (np.sum(mass / total) + (n - 1) * np.sum(mass * face[0] ** 2 / total)) / n
    assert CubeDirection(0.7, n).kurtosis == pytest.approx(n**2 * fourth, rel=1e-9)


def test_direction_in_a_cube_in_one_two_and_many_dimensions() -> None:
    assert CubeDirection(-0.7, 1).atoms == ((-0.7, 0.5), (0.7, 0.5))
    assert CubeDirection(0.7, 1).kurtosis == pytest.approx(1, rel=1e-12)
    assert CubeDirection(0.7, 2).kurtosis == pytest.approx(3 - math.pi / 2, rel=1e-12)
    assert CubeDirection(0.7, 100_000).kurtosis == pytest.approx(1.8, rel=1e-5)  # that of the uniform entries
    law = CubeDirection(0.7, 49)
    assert (law.mean, law.variance, law.support) == (0, pytest.approx(0.01, rel=1e-15), (-0.7, 0.7))
    assert np.isnan(law.cumulative(np.zeros(2))).all()


def test_unknown_law_knows_its_mean_and_its_reason() -> None:
    law = Unknown("it depends on data")
    assert (law.mean, law.minimum, law.maximum, law.atoms) == (0, -math.inf, math.inf, ())
    assert np.isnan([law.variance, law.standard_deviation, law.kurtosis, *law.cumulative(np.zeros(2))]).all()
    with pytest.raises(Refused, match="it depends on data"):
        law.sample((2, 2), _generator())


# What is refused


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.nan), (0.0, -0.0)])
def test_uniform_and_truncated_normal_want_their_ends_in_order(low: float, high: float) -> None:
    with pytest.raises(Refused, match="minval below maxval"):
        Uniform(low, high)
    with pytest.raises(Refused, match="low below high"):
        TruncatedNormal(0.0, 1.0, low, high)
    with pytest.raises(Refused, match="low below high"):
        TruncatedNormal.at(0.0, 1.0, low, high)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TruncatedNormal(0.0, 0.0, -1.0, 1.0), "above 0"),
        (lambda: TruncatedNormal(0.0, math.nan, -1.0, 1.0), "above 0"),
        (lambda: StudentT(1.0, 2.0), "nu above 2"),
        (lambda: TwoPointSparse(1.0, 0.0), "share above 0"),
        (lambda: TwoPointSparse(1.0, 1.1), "at most 1"),
        (lambda: Sparse(Normal(0.0, 1.0), 1.5), "add up to 1"),
        (lambda: Atoms(()), "add up to 1"),
        (lambda: Atoms(((1.0, 0.5), (2.0, 0.4))), "add up to 1"),
        (lambda: Atoms(((1.0, math.nan), (2.0, 0.4))), "add up to 1"),
    ],
)
def test_parameters_that_make_no_law_are_refused(make: Callable[[], Law], message: str) -> None:
    with pytest.raises(Refused, match=message):
        make()


@pytest.mark.parametrize("size", [(0,), (3, 0), (0, 3), (2, 0, 3), (-1,), (3, -2)])
@pytest.mark.parametrize(
    "law", [WITH_DENSITY[0], *CUT[:1], *MIXED[:1], *POINT_MASSES, *ORTHOGONAL[:1], *CUBES], ids=repr
)
def test_empty_sizes_are_refused(law: Law, size: tuple[int, ...]) -> None:
    with pytest.raises(Refused) as refusal:
        law.sample(size, _generator())
    assert str(size) in refusal.value.allowed


@pytest.mark.parametrize(
    ("law", "size", "sides"),
    [(Orthogonal(1.0, 4), (4,), 2), (Sparse(Orthogonal(1.0, 4), 0.5), (4,), 2), (CubeDirection(1.0, 4), (), 1)],
    ids=repr,
)
def test_rows_and_matrices_are_drawn_whole(law: Law, size: tuple[int, ...], sides: int) -> None:
    with pytest.raises(Refused) as refusal:
        law.sample(size, _generator())
    assert refusal.value.allowed == f"{sides} or more sides of at least 1, not {size}"


# What is drawn


@pytest.mark.parametrize("law", [*WITH_DENSITY, *FAR, *MIXED, *POINT_MASSES, *CUBES], ids=repr)
def test_draws_are_float32_of_the_asked_shape_and_repeatable(law: Law) -> None:
    n = law.n if isinstance(law, Orthogonal) else 7
    for size in ((n, 2), (2, n), (n, n), (3, n, 2)):
        if isinstance(law, Orthogonal) and max(size[-2:]) != n:
            continue
        draw = law.sample(size, _generator(5))
        assert draw.shape == size
        assert draw.dtype == torch.float32
        assert draw.is_contiguous()
        assert draw.isfinite().all()
        assert torch.equal(draw, law.sample(size, _generator(5)))


@pytest.mark.parametrize("law", [*NORMALS, *TAILS, Beta21(), *FAR, *POINT_MASSES[:4]], ids=repr)
def test_a_single_weight_can_be_drawn(law: Law) -> None:
    assert law.sample((), _generator()).shape == ()


@pytest.mark.parametrize("law", [*WITH_DENSITY, *CUBES], ids=repr)
def test_draws_differ_from_seed_to_seed_and_leave_the_global_generator_alone(law: Law) -> None:
    before = torch.random.get_rng_state()
    first, second = _entries(law, 10, seed=1), _entries(law, 10, seed=2)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert (first != second).all()


@pytest.mark.parametrize("law", [*WITH_DENSITY, *FAR[:6], *MIXED, *POINT_MASSES, *CUBES], ids=repr)
def test_sample_moments_lie_within_five_standard_errors(law: Law) -> None:
    count = DRAWS
    x = _entries(law, count, seed=11)
    rounding = float(np.finfo(np.float32).eps) * abs(law.mean)
    assert abs(x.mean() - law.mean) <= 5 * law.standard_deviation / math.sqrt(count) + rounding
    if law.standard_deviation == 0:
        assert x.std() == 0
        return
    z = (x - law.mean) / law.standard_deviation
    error = math.sqrt(max(law.kurtosis - 1, 0) / count)
    assert abs(np.mean(z**2) - 1) < 5 * error + 1e-6
    if law not in TAILS:  # of which the eighth moment is infinite or comes from a few draws
        assert abs(np.mean(z**4) - law.kurtosis) < 5 * np.std(z**4) / math.sqrt(count) + 1e-5
    if law in [*CORRECTED, *UNIFORMS]:  # the ends are reached, too
        assert x.max() > law.maximum - 0.001 * law.standard_deviation
        assert x.min() < law.minimum + 0.001 * law.standard_deviation


def test_the_kolmogorov_smirnov_test_tells_laws_of_equal_variance_apart() -> None:
    laws = [corrected(1.0), Normal(0.0, 1.0), Uniform(-math.sqrt(3), math.sqrt(3)), Laplace(1.0), StudentT(1.0, 12.0)]
    for drawn, asked in itertools.product(laws, repeat=2):
        p = stats.kstest(_entries(drawn, DRAWS, seed=12), _reference(asked).cdf, method="asymp").pvalue
        assert (p > SMALLEST_P) == (drawn is asked)
    # ... and a standard deviation that is 2 % off, as it would be with another correction.
    p = stats.kstest(_entries(laws[0], DRAWS, seed=12), _reference(corrected(1.02)).cdf, method="asymp").pvalue
    assert p < SMALLEST_P


@pytest.mark.parametrize("law", [law for law in WITH_DENSITY if law not in ORTHOGONAL], ids=repr)
def test_draws_follow_the_exact_distribution_function(law: Law) -> None:
    x = _entries(law, DRAWS, seed=13)
    assert stats.kstest(x, _reference(law).cdf, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("law", ORTHOGONAL, ids=repr)
def test_orthogonal_entries_follow_the_beta_law(law: Orthogonal) -> None:
    x = _entries(law, 20_000, seed=14)  # one entry of each of so many matrices
    assert stats.kstest(x, _reference(law).cdf, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("law", FAR, ids=repr)
def test_draws_of_far_cuts_follow_the_exact_distribution_function(law: TruncatedNormal) -> None:
    x = law.sample((20_000,), _generator(21)).double().numpy()
    assert x.min() >= law.minimum
    assert x.max() <= law.maximum
    steps = np.spacing(np.float32(abs(law.mean))) / law.standard_deviation
    if steps < 0.001:  # float32 tells the draws apart
        assert stats.kstest(x, law.cumulative, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("law", [TruncatedNormal(0.0, 1.0, 3.0, 5.0), FAR[3], FAR[4], FAR[5]], ids=repr)
def test_draws_of_far_tails_follow_scipy(law: TruncatedNormal) -> None:
    x = _entries(law, DRAWS, seed=22)
    assert stats.kstest(x, _reference(law).cdf, method="asymp").pvalue > SMALLEST_P


@pytest.mark.parametrize("law", [*MIXED, *POINT_MASSES], ids=repr)
def test_draws_of_mixtures_have_their_atoms_and_between_them_their_density(law: Law) -> None:
    x = _entries(law, DRAWS, seed=23)
    free = np.ones(DRAWS, dtype=bool)
    for value, mass in law.atoms:
        on_atom = x == np.float32(value)
        assert abs(on_atom.mean() - mass) <= 5 * math.sqrt(mass * (1 - mass) / DRAWS) + 1e-9
        free &= ~on_atom
    if law.no_density:
        assert not free.any()
        return

    def continuous(points: Array) -> Array:
        steps = sum(mass * (points >= value) for value, mass in law.atoms)
        return (law.cumulative(points) - steps) / (1 - sum(mass for _, mass in law.atoms))

    assert stats.kstest(x[free], continuous, method="asymp").pvalue > SMALLEST_P


def test_draws_of_a_corrected_truncated_normal_are_those_they_have_always_been() -> None:
    """Saved seeds mean the same weights in every version."""
    edge, parent = math.erf(math.sqrt(2)), 0.3 / TRUNCATED_STDDEV
    old = torch.empty(200, 300).uniform_(-edge, edge, generator=_generator(24)).erfinv_().mul_(math.sqrt(2) * parent)
    assert torch.equal(corrected(0.3).sample((200, 300), _generator(24)), _within(old, -2 * parent, 2 * parent))


@pytest.mark.parametrize("n", [1, 2, 64])
def test_directions_in_a_cube_have_the_length_of_the_gain(n: int) -> None:
    rows = CubeDirection(0.7, n).sample((1000, 5, n), _generator(25)).double()
    torch.testing.assert_close(rows.norm(dim=-1), torch.full((1000, 5), 0.7, dtype=torch.float64), rtol=1e-6, atol=0)
    corner = math.sqrt(n) * rows.abs().amax(dim=-1) / rows.norm(dim=-1)  # 1 in a corner, sqrt n on an axis
    assert (corner >= 1 - 1e-6).all()


def test_the_centre_of_the_cube_has_a_direction_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, *bounds, generator: self.zero_())
    torch.testing.assert_close(CubeDirection(0.7, 4).sample((3, 4), _generator()), torch.full((3, 4), 0.35))


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
    law = corrected(sigma)
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
    law = corrected(math.sqrt(2 / 64))
    draw = law.sample((1_000_000,), _generator(seed)).double()
    assert law.minimum <= draw.min() < -1.999 * law.parent
    assert 1.999 * law.parent < draw.max() <= law.maximum


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("gain", [0.1, 0.7, -1.0, 1e15])
def test_directions_in_a_cube_never_pass_the_gain(n: int, gain: float) -> None:
    law = CubeDirection(gain, n)
    draw = law.sample((2000, n), _generator(26)).double()
    assert law.minimum <= draw.min() <= draw.max() <= law.maximum


@pytest.mark.parametrize("n", [1, 2, 3, 64])
@pytest.mark.parametrize("gain", [0.1, 1.0, 1.4142135623730951, 1e15])
def test_orthogonal_entries_pass_the_gain_by_rounding_at_most(n: int, gain: float) -> None:
    draw = Orthogonal(gain, n).sample((2000, n, min(n, 2)), _generator(19)).double()
    assert draw.abs().max() <= gain * (1 + 4 * np.finfo(np.float32).eps)


@settings(deadline=None)
@given(st.floats(-1e30, 1e30), SCALES, st.floats(-1e30, 1e30), SCALES, st.integers(0, 2**31 - 1))
@example(0.0, 1.0, 3.0, 2.0, 0)
@example(0.0, 0.02, -2.0, 4.0, 0)
@example(0.0, 1e-30, 1.0, 1.0, 0)
@example(1e30, 1e-30, 0.0, 1.0, 0)
@example(0.0, 1e30, 1.0, 1.0, 0)
@example(1e30, 1e30, -1.0, 1e30, 0)
@example(0.0, 5e-324, 1.0, 1.0, 0)
def test_every_truncated_normal_is_finite_and_within_its_bounds(
    mu: float, parent: float, low: float, width: float, seed: int
) -> None:
    assume(low + width <= 1e30)
    assume(width > 5e-7 * abs(low))  # some float32 numbers lie between
    law = TruncatedNormal(mu, parent, low, low + width)
    draw = law.sample((100,), _generator(seed)).double()
    assert law.minimum <= draw.min() <= draw.max() <= law.maximum
    assert law.minimum <= law.mean <= law.maximum
    assert law.standard_deviation <= width
    if law.no_density is None:
        x = np.array([law.minimum, law.mean, law.maximum])
        assert not np.isnan(law.density(x)).any()
        np.testing.assert_allclose(law.cumulative(x)[[0, 2]], [0, 1])
        assert 1 <= law.kurtosis <= 9 + 1e-9  # between that of two points and that of an exponential law


EXTREME: list[Callable[[float], Law]] = [
    lambda s: Normal(0.0, s),
    corrected,
    lambda s: Uniform(-math.sqrt(3) * s, math.sqrt(3) * s),
    Laplace,
    lambda s: StudentT(s, 5.0),
    lambda s: Orthogonal(2 * s, 4),
    lambda s: CubeDirection(2 * s, 4),
    Rademacher,
    lambda s: TwoPointSparse(s, 0.25),
    lambda s: Sparse(Normal(0.0, 2 * s), 0.75),
]


@pytest.mark.parametrize("sigma", [1e-200, 1e30])
@pytest.mark.parametrize("make", EXTREME, ids=lambda make: repr(make(1.0)))
def test_laws_keep_their_moments_at_any_scale(make: Callable[[float], Law], sigma: float) -> None:
    law, ordinary = make(sigma), make(1.0)
    assert law.standard_deviation == pytest.approx(sigma, rel=1e-12, abs=0)
    assert law.mean == 0
    assert law.kurtosis == pytest.approx(ordinary.kurtosis, rel=1e-12)
    x = np.array([-1.5, -0.3, 0.0, 0.2, 1.1])
    np.testing.assert_allclose(law.cumulative(sigma * x), ordinary.cumulative(x), rtol=1e-12)
    np.testing.assert_allclose(law.density(sigma * x), ordinary.density(x) / sigma, rtol=1e-12)
    assert law.sample((4, 4), _generator()).isfinite().all()


@pytest.mark.parametrize("sigma", [1e-200, 0.05, 0.1767766952966369, 1 / 3, 1e30])
def test_the_corrected_deviation_is_exactly_the_one_asked_for(sigma: float) -> None:
    law = corrected(sigma)
    assert law.standard_deviation == sigma
    assert law.parent == sigma / TRUNCATED_STDDEV
    assert law.support == (-2 * law.parent, 2 * law.parent)
    assert law == TruncatedNormal.at(0.0, law.parent, -2.0, 2.0)


def test_distribution_function_of_the_truncated_draw() -> None:
    """The draw is the inverse of the distribution function: its quantiles are scipy's."""
    law = corrected(0.3)
    levels = np.array([0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999])
    x = np.quantile(_entries(law, 1_000_000, seed=20), levels)
    exact = _reference(law).ppf(levels)
    error = np.sqrt(levels * (1 - levels) / 1_000_000) / law.density(exact)
    assert (np.abs(x - exact) < 5 * error).all()
    assert special.erf(math.sqrt(2)) == pytest.approx(stats.norm.cdf(2) - stats.norm.cdf(-2))
