"""The signal at initialization: against theory, against autograd, and far beyond what single precision holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from winit.activations import activation
from winit.datasets import gaussian, load
from winit.fields import BadInput, Refused
from winit.layers import NORMALIZATIONS
from winit.network import Member, initialize
from winit.queueing import POOL, WORKERS, spread
from winit.seeds import generator
from winit.signal import (
    BINS,
    QUANTILES,
    Signal,
    equal_variance,
    measure,
    per_layer,
    place,
    power,
    predict,
    prediction,
    rules,
    verdict,
    zero_mean,
)
from winit.spec import Spec

Array = NDArray[np.float64]
RELU_KAPPA = 5.0
"""Var(phi^2) / E[phi^2]^2 of ReLU: by how much, over n, a layer of width n spreads ln q."""
SIXTH = "variance_scaling(scale=0.333333333333, distribution=uniform)"


def _spec(**changes: object) -> Spec:
    return Spec(dataset="gaussian").replace(**changes)


def _assert_follows(signal: Signal, theory: Array, variance: Array) -> None:
    """Assert that ln q, over the seeds, has the mean and spread of a product of layers of finite width.

    `theory` is the mean of q by layer, `variance` that of ln q. The typical network lies below the
    mean: E ln q = ln theory - variance / 2. Both the mean over S seeds and the spread may be off by
    four of their own standard deviations.
    """
    found = signal.forward_log10 * math.log(10)
    count = len(signal.seeds)
    error = found.mean(axis=0) - (np.log(theory) - variance / 2)
    assert (np.abs(error) <= 4 * np.sqrt(variance / count)).all()
    # Layer 1 averages over samples that are not yet alike, so its spread is smaller than the formula's.
    spread = found.var(axis=0, ddof=1) / variance
    assert spread.max() < math.exp(4 * math.sqrt(2 / (count - 1)))
    assert spread[-1] > math.exp(-4 * math.sqrt(2 / (count - 1)))


def _relu_variance(width: int, depth: int) -> Array:
    """Return Var ln q of layers 1 to depth: kappa / n for each layer crossed, 2 / n for the measured one."""
    return (np.arange(depth) * RELU_KAPPA + 2) / width


@pytest.mark.parametrize(("width", "seeds"), [(64, 32), (192, 10)])
def test_he_keeps_the_second_moment_of_a_relu_network(width: int, seeds: int) -> None:
    signal = measure(_spec(width=width, depth=50), seeds, backward=False)
    _assert_follows(signal, np.full(50, 2.0), _relu_variance(width, 50))


@pytest.mark.parametrize(
    ("initializer", "first", "factor"),
    [
        ("glorot_normal", 1.0, 1 / 2),
        ("glorot_uniform", 1.0, 1 / 2),
        ("lecun_normal", 1.0, 1 / 2),
        (SIXTH, 1 / 3, 1 / 6),
    ],
)
def test_smaller_laws_lose_a_factor_per_layer(initializer: str, first: float, factor: float) -> None:
    signal = measure(_spec(width=64, depth=20, initializer=initializer), 32, backward=False)
    _assert_follows(signal, first * factor ** np.arange(20), _relu_variance(64, 20))
    assert per_layer(signal) == pytest.approx(factor, rel=0.15)


def test_torch_default_divides_by_six_until_its_biases_are_all_that_is_left() -> None:
    """q' = q / 6 + 1 / (3n): the biases of nn.Linear set a floor of 0.4 / n."""
    width, depth = 64, 12
    bias = 1 / (3 * width)
    theory, variance, crossed = np.empty(depth), np.empty(depth), 0.0
    q = 1 / 3 + bias
    for layer in range(depth):
        theory[layer], variance[layer] = q, crossed + 2 / width
        following = q / 6 + bias
        # What the bias adds does not fluctuate with q: only the share q / 6 carries the spread on.
        crossed = (q / 6 / following) ** 2 * (crossed + RELU_KAPPA / width)
        q = following
    signal = measure(_spec(width=width, depth=depth, initializer="torch_default"), 32, backward=False)
    _assert_follows(signal, theory, variance)
    assert theory[1] / theory[0] == pytest.approx(1 / 6, rel=0.1)
    assert np.median(10 ** signal.forward_log10[:, -1]) == pytest.approx(0.4 / width, rel=0.2)


@pytest.mark.parametrize("dataset", ["gaussian", "digits"])
def test_a_larger_law_of_the_same_draw_is_larger_by_its_factor_exactly(dataset: str) -> None:
    """ReLU is homogeneous: he_normal is lecun_normal times sqrt 2, layer after layer, forward and backward."""
    spec = Spec(width=64, depth=20, dataset=dataset)
    he, lecun = (measure(spec.replace(initializer=name), 3) for name in ("he_normal", "lecun_normal"))
    layers = np.arange(1, 21)
    forward = he.forward_log10 - lecun.forward_log10
    np.testing.assert_allclose(forward, np.broadcast_to(layers * math.log10(2), (3, 20)), atol=1e-5)
    if dataset == "gaussian":  # on digits the loss's own gradient changes with the outputs
        backward = he.backward_log10 - lecun.backward_log10
        np.testing.assert_allclose(backward, np.broadcast_to((21 - layers) * math.log10(2), (3, 20)), atol=1e-5)


def test_he_keeps_the_gradients_of_a_relu_network() -> None:
    """With a N(0, 1) cotangent the gradient's second moment is 1 in every layer, on average over networks."""
    signal = measure(_spec(width=128, depth=8), 48)
    moments = 10**signal.backward_log10
    error = np.abs(moments.mean(axis=0) - 1)
    assert (error < 4 * moments.std(axis=0, ddof=1) / math.sqrt(48)).all()


@pytest.mark.parametrize("depth", [2, 50])
@pytest.mark.parametrize("dataset", ["gaussian", "digits", "moons"])
def test_a_network_that_looks_linear_keeps_the_size_of_each_input(dataset: str, depth: int) -> None:
    """Mirrored units hand phi(z) - phi(-z) = z on, through orthogonal matrices: an isometry, whatever the depth."""
    signal = measure(Spec(depth=depth, width=48, initializer="looks_linear", dataset=dataset), 3)
    for log10 in (signal.forward_log10, signal.backward_log10[:, :-1]):
        np.testing.assert_allclose(log10, np.broadcast_to(log10[:, :1], log10.shape), atol=1e-5)
    assert (signal.dead_fraction < 0.5).all()


@pytest.mark.parametrize("dataset", ["gaussian", "digits", "moons"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu(slope=0.2)"])
def test_a_start_fitted_to_the_data_has_unit_variance_in_every_layer(activation: str, dataset: str) -> None:
    """LSUV divides until the variance of the pre-activations is within 0.1 of 1; 64 is the batch that it sees."""
    spec = Spec(depth=8, width=24, activation=activation, initializer="lsuv", dataset=dataset)
    signal = measure(spec, 2)
    assert signal.samples == 64
    moments = 10**signal.forward_log10
    # The second moment is the variance and the square of the mean over all units, which is small.
    assert (moments > 0.89).all()
    assert (moments < 1.5).all()
    assert np.abs(np.log(moments)).mean() < 0.1


def test_what_biases_start_at_is_all_that_zeros_leave() -> None:
    base = _spec(depth=4, width=256, initializer="zeros")
    constant = measure(base.replace(bias="constant(value=-0.5)"), 2)
    np.testing.assert_allclose(constant.forward_log10, math.log10(0.25), atol=1e-7)
    normal = measure(base.replace(bias="normal(stddev=0.3)"), 16, backward=False)
    # The mean square of 256 normals is off by sqrt(2 / 256) of itself, one standard deviation.
    np.testing.assert_allclose(10**normal.forward_log10, 0.09, rtol=5 * math.sqrt(2 / 256))
    assert len(set(normal.forward_log10.ravel())) == 64  # each layer and seed its own
    for bias in ("scheme", "zeros", "log_prior"):
        assert (measure(base.replace(bias=bias), 2).forward_log10 == -np.inf).all()


def test_biases_of_the_scheme_are_torchs_own_and_no_others() -> None:
    spec = Spec(depth=4, width=16, initializer="torch_default")
    own, none = measure(spec, 2), measure(spec.replace(bias="zeros"), 2)
    assert (own.forward_log10 != none.forward_log10).all()
    spec = spec.replace(initializer="he_normal")
    own, none = measure(spec, 2), measure(spec.replace(bias="zeros"), 2)
    np.testing.assert_array_equal(own.forward_log10, none.forward_log10)


def test_the_output_rule_scales_the_gradients_and_leaves_the_signal() -> None:
    spec = _spec(depth=4, width=16)
    same, small, zeros = (measure(spec.replace(output=output), 3) for output in ("same", "small", "zeros"))
    for other in (small, zeros):
        np.testing.assert_array_equal(other.forward_log10, same.forward_log10)
    np.testing.assert_allclose(small.backward_log10, same.backward_log10 - 4, atol=1e-5)
    assert (zeros.backward_log10 == -np.inf).all()


@pytest.mark.parametrize("name", ["looks_linear", "kumar", "edge_of_chaos(sigma_b=0.1)"])
def test_what_cannot_start_is_not_measured(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        measure(Spec(depth=2, width=5, initializer=name), 1)
    assert (caught.value.field, caught.value.value) == ("initializer", name)


def test_zeros_leave_nothing() -> None:
    for spec in (_spec(depth=3, initializer="zeros"), Spec(depth=3, initializer="zeros")):
        signal = measure(spec, 2)
        assert (signal.forward_log10 == -np.inf).all()
        assert (signal.backward_log10 == -np.inf).all()
        assert (signal.quantiles == 0).all()
        assert (signal.dead_fraction == 1).all()
        assert per_layer(signal) == 0
        assert verdict(signal) == "The signal is gone: the pre-activations of layer 3 are all 0."


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("depth", [50, 200])
def test_logarithms_go_on_where_single_precision_underflows(depth: int) -> None:
    spec = _spec(depth=depth, initializer="random_normal(stddev=0.01)")
    signal = measure(spec, 16)
    theory = math.log10(64e-4) + np.arange(depth) * math.log10(64e-4 / 2)
    variance = _relu_variance(64, depth) / math.log(10) ** 2
    error = signal.forward_log10.mean(axis=0) - (theory - variance * math.log(10) / 2)
    assert (np.abs(error) <= 4 * np.sqrt(variance / 16)).all()
    assert np.isfinite(signal.backward_log10).all()
    assert np.isfinite(signal.quantiles).all()
    assert signal.forward_log10[0, -1] < -2 * 45  # its root, too, is below the smallest float32, 1e-45
    ensemble = initialize(spec, [Member(spec.initializer, 0, 0.0)])
    outputs = ensemble.outputs(torch.tensor(gaussian(64, 64, 0)).T)
    assert float(outputs.abs().max()) == 0
    assert "falls to" in verdict(signal)
    assert per_layer(signal) == pytest.approx(64e-4 / 2, rel=0.2)


@pytest.mark.filterwarnings("error")
def test_logarithms_go_on_where_double_precision_overflows() -> None:
    signal = measure(_spec(width=128, depth=200, initializer="random_normal(stddev=1)", batch_size=4), 2)
    theory = math.log10(128) + 199 * math.log10(64)
    assert theory > 308
    sd = math.sqrt(_relu_variance(128, 200)[-1]) / math.log(10)
    assert (np.abs(signal.forward_log10[:, -1] - theory) < 4 * sd + sd**2).all()
    assert np.isfinite(signal.backward_log10).all()
    assert power(float(signal.forward_log10[0, -1])) == np.inf
    assert "grows by" in verdict(signal)


@pytest.mark.filterwarnings("error")
def test_a_signal_beyond_all_numbers_is_infinite() -> None:
    signal = measure(
        _spec(width=8, depth=20, initializer="random_normal(stddev=1e30)", batch_size=4), 2, backward=False
    )
    assert np.isfinite(signal.forward_log10[:, 0]).all()
    assert (signal.forward_log10[:, -1] == np.inf).all()
    assert per_layer(signal) == np.inf
    assert "beyond all finite numbers" in verdict(signal)


# Against autograd


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "hardtanh": F.hardtanh,
    "gelu": F.gelu,
    "leaky_relu(slope=0.2)": lambda z: F.leaky_relu(z, 0.2),
    "sine(omega=1)": torch.sin,
}


@pytest.mark.parametrize(("activation", "width"), [*((name, 6) for name in FUNCTIONS), ("tanh", 1)])
@pytest.mark.parametrize("dataset", ["gaussian", "digits", "moons"])
def test_a_tiny_network_is_measured_as_by_autograd(activation: str, width: int, dataset: str) -> None:
    spec = Spec(depth=3, width=width, activation=activation, initializer="torch_default", dataset=dataset, seed=4)
    signal = measure(spec, 3, samples=20)
    assert signal.seeds == (4, 5, 6)
    assert signal.samples == 20
    x = torch.tensor(
        gaussian(width, 20, 4) if dataset == "gaussian" else load(dataset).train_x[:20], dtype=torch.float64
    )
    pooled: list[list[Array]] = [[], [], []]
    for row, seed in enumerate(signal.seeds):
        ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)
        h, pre_activations, slopes, seen = x, [], [], []
        for layer, (weight, bias) in enumerate(zip(ensemble.weights, ensemble.biases, strict=True)):
            seen.append(h)
            z = (h @ weight[0].T + bias[0, :, 0]).requires_grad_()
            if layer < 3:
                pre_activations.append(z)
                h = FUNCTIONS[activation](z)
                (slope,) = torch.autograd.grad(h.sum(), z, retain_graph=True)
                slopes.append(slope)
                a = h.detach().numpy()
                assert signal.activation_mean[row, layer] == pytest.approx(a.mean(), rel=1e-10)
                assert signal.variance_over_samples[row, layer] == pytest.approx(a.var(axis=0).mean(), rel=1e-10)
                dead = float((slope == 0).all(dim=0).double().mean())
                assert signal.dead_fraction[row, layer] == dead
                flat = 0.05 * float(np.abs(ensemble.activation.slopes(np.linspace(-10, 10, 20_001))).max())
                assert signal.saturated_fraction[row, layer] == float((slope.abs() < flat).double().mean())
                assert signal.pre_activation_mean[row, layer] == pytest.approx(float(z.detach().mean()), abs=1e-14)
                assert 10 ** signal.activation_log10[row, layer] == pytest.approx((a * a).mean(), rel=1e-10)
                assert signal.variance_over_units[row, layer] == pytest.approx(a.var(axis=1).mean(), rel=1e-10)
                cosines = F.cosine_similarity(z.detach()[:, None], z.detach()[None], dim=2)
                expected = float(cosines[~torch.eye(20, dtype=torch.bool)].mean())
                assert signal.correlation[row, layer] == pytest.approx(expected, abs=1e-10)
                pooled[layer].append(z.detach().numpy().ravel())
        if dataset == "gaussian":
            cotangent = torch.empty(1, width, 20, dtype=torch.float64).normal_(generator=generator(seed, "cotangent"))
            output, below = z, cotangent[0].T
        else:
            output, below = F.cross_entropy(z, torch.tensor(load(dataset).train_y[:20]), reduction="sum"), None
        gradients = torch.autograd.grad(output, pre_activations, below)
        for layer in range(3):
            forward = float(pre_activations[layer].detach().square().mean())
            backward = float(gradients[layer].square().mean())
            assert signal.forward_log10[row, layer] == pytest.approx(math.log10(forward), abs=1e-10)
            assert signal.backward_log10[row, layer] == pytest.approx(math.log10(backward), abs=1e-10)
            of_weight = gradients[layer].T @ (seen[layer].detach()) / 20
            expected = math.log10(float(of_weight.square().mean()))
            assert signal.weight_gradient_log10[row, layer] == pytest.approx(expected, abs=1e-10)
    for layer in range(3):
        expected = np.quantile(np.concatenate(pooled[layer]), QUANTILES)
        np.testing.assert_allclose(signal.quantiles[:, layer], expected, rtol=1e-9, atol=1e-12)


def test_without_gradients_everything_else_is_the_same() -> None:
    spec = Spec(depth=4, width=10, activation="tanh")
    with_gradients, without = measure(spec, 3), measure(spec, 3, backward=False)
    assert np.isnan(without.backward_log10).all()
    assert np.isfinite(with_gradients.backward_log10).all()
    for name in ("forward_log10", "activation_mean", "variance_over_samples", "dead_fraction", "quantiles"):
        np.testing.assert_array_equal(getattr(with_gradients, name), getattr(without, name))


# What else is measured


@pytest.mark.parametrize("initializer", ["zeros", "constant(value=0.1)"])
def test_units_that_start_equal_are_counted_as_one(initializer: str) -> None:
    signal = measure(Spec(depth=4, width=64, initializer=initializer, activation="tanh"), 2)
    assert (signal.distinct_rows == 1).all()
    assert (signal.distinct_gradients == 1).all()


def test_units_that_start_apart_are_counted_one_by_one() -> None:
    signal = measure(Spec(depth=4, width=64, activation="tanh"), 2)
    assert (signal.distinct_rows == 64).all()
    assert (signal.distinct_gradients == 64).all()
    # Units of ReLU that are off for the whole batch have the same gradient: none.
    few = measure(_spec(depth=3, width=64, batch_size=2), 2)
    assert (few.dead_fraction[:, 0] > 0.1).all()
    dead = np.round(few.dead_fraction * 64)
    np.testing.assert_array_equal(few.distinct_gradients, np.where(dead > 0, 65 - dead, 64))
    assert (measure(Spec(depth=2, width=8), 1, backward=False).distinct_gradients == -1).all()


def test_what_float32_would_lose_is_flagged() -> None:
    small = measure(_spec(depth=50, initializer="random_normal(stddev=0.01)"), 2)
    assert not small.forward_underflows[:, 0].any()
    assert small.forward_underflows[:, -1].all()
    assert small.backward_underflows[:, 0].all()
    assert not small.overflows.any()
    first = small.forward_underflows[0].argmax()
    # A typical value there is below the least number that float32 holds in full.
    assert 10 ** (small.forward_log10[0, first] / 2) < np.finfo(np.float32).tiny
    assert 10 ** (small.forward_log10[0, first - 1] / 2) > np.finfo(np.float32).tiny
    large = measure(_spec(depth=50, initializer="random_normal(stddev=100)"), 2)
    assert large.overflows[:, -1].all()
    assert not large.forward_underflows.any()
    nothing = measure(_spec(depth=3, initializer="zeros"), 1)
    assert not nothing.forward_underflows.any()


@pytest.mark.parametrize("text", ["relu", "tanh", "sigmoid", "gelu"])
def test_histograms_share_edges_and_hold_every_value(text: str) -> None:
    signal = measure(Spec(depth=6, width=40, activation=text, initializer="glorot_normal"), 3)
    for histogram, apart in ((signal.activation_histogram, 0.0), (signal.gradient_histogram, 1.0)):
        assert histogram.edges.shape == (BINS + 1,)
        assert (np.diff(histogram.edges) > 0).all()
        assert histogram.shares.shape == (6, BINS)
        whole = histogram.shares.sum(axis=1) + histogram.beyond + apart * histogram.zeros
        np.testing.assert_allclose(whole, 1, atol=1e-12)
        assert (histogram.beyond < 0.1).all()
    # The activations are where the quantiles of the pre-activations say.
    edges, shares = signal.activation_histogram.edges, signal.activation_histogram.shares
    for layer in range(6):
        median = float(activation(text).values(signal.quantiles[len(QUANTILES) // 2, layer]))
        if text != "gelu":  # the others rise
            below = shares[layer, edges[1:] <= median - 1e-12].sum()
            upto = shares[layer, edges[:-1] <= median + 1e-12].sum()
            assert below - 0.03 <= 0.5 <= upto + 0.03 + signal.activation_histogram.beyond[layer]
    means = 10 ** (signal.gradient_histogram.edges[1:] + signal.gradient_histogram.edges[:-1]) * 1.0
    moment = signal.gradient_histogram.shares @ means
    np.testing.assert_allclose(np.log10(moment), np.log10((10**signal.backward_log10).mean(axis=0)), atol=0.15)


def test_work_is_spread_in_order_and_within_the_pool() -> None:
    def outer(number: int) -> list[int]:
        return spread(lambda inner: 10 * number + inner, range(4))

    expected = [[10 * number + inner for inner in range(4)] for number in range(20)]
    assert spread(outer, range(20)) == expected
    # Every thread of the pool spreads its own work, and none waits for another.
    assert list(POOL.map(lambda _: spread(outer, range(20)), range(2 * WORKERS))) == [expected] * (2 * WORKERS)
    assert spread(outer, []) == []

    def fails(number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        spread(fails, range(8))


# Theory beside it


def test_a_prediction_ends_at_the_gradients_that_were_measured() -> None:
    signal = measure(Spec(depth=6, width=48), 5)
    expected = predict(signal)
    assert expected.backward.median_log10[-1] == pytest.approx(np.median(signal.backward_log10[:, -1]), abs=1e-12)
    assert (expected.forward.low_log10 < expected.forward.median_log10).all()
    assert (expected.forward.median_log10 < expected.forward.high_log10).all()
    assert (np.abs(np.median(signal.forward_log10, axis=0) - expected.forward.median_log10) < 0.3).all()
    free = prediction(signal.spec, signal.inputs, signal.alignment)
    np.testing.assert_allclose(np.diff(free.backward.log10), np.diff(expected.backward.log10), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"initializer": "constant(value=0.1)"}, "weights of mean 0"),
        ({"initializer": "random_normal(mean=0.1)"}, "weights of mean 0"),
        ({"initializer": "lsuv"}, "look at the data"),
        ({"initializer": "identity"}, "weights of mean 0"),
        ({"initializer": "looks_linear"}, "drawn independently"),
        ({"bias": "constant(value=0.1)"}, "biases of mean 0"),
    ],
)
def test_where_theory_has_nothing_to_say_it_says_why(changes: dict[str, str], words: str) -> None:
    signal = measure(Spec(depth=2, width=8, **changes), 1)
    with pytest.raises(Refused, match=words):
        predict(signal)


def test_sparse_weights_and_biases_have_a_theory() -> None:
    for changes in ({"initializer": "sparse"}, {"initializer": "sparse_martens"}, {"bias": "normal(stddev=0.3)"}):
        signal = measure(_spec(depth=4, width=128, activation="tanh").replace(**changes), 6)
        expected = predict(signal).forward
        error = np.abs(signal.forward_log10.mean(axis=0) - expected.median_log10) * math.log(10)
        assert (error < 3 * expected.deviation / math.sqrt(6) + 0.05).all(), changes


def test_the_place_in_the_phase_diagram() -> None:
    assert place(Spec()) == (pytest.approx(2**0.5), 0.0)
    assert place(_spec(width=100, initializer="torch_default")) == (
        pytest.approx(3**-0.5),
        pytest.approx((1 / 300) ** 0.5),
    )
    assert place(Spec(bias="normal(stddev=0.2)", initializer="zeros")) == (0.0, pytest.approx(0.2))
    assert place(Spec(depth=1, width=100, dataset="digits", initializer="random_normal(stddev=1)"))[0] == pytest.approx(
        8
    )


# Rules


def test_the_two_rules_with_their_numbers() -> None:
    kept = measure(_spec(depth=20, width=128, activation="tanh", initializer="orthogonal"), 4)
    assert [rule.is_kept for rule in rules(kept)] == [True, False]
    relu = measure(_spec(depth=20, width=256), 4)
    mean, variance = rules(relu)
    assert not mean.is_kept
    # E z / sqrt(E z^2) of a half normal: sqrt(1 / pi), more or less by layer.
    assert mean.number == pytest.approx(math.sqrt(1 / math.pi), abs=0.1)
    assert f"{mean.number:.2g}" in mean.sentence
    assert variance.number == pytest.approx(10 ** (np.diff(np.median(relu.forward_log10[:, [0, -1]], axis=0))[0]))
    assert variance.sentence == verdict(relu)
    assert zero_mean(measure(_spec(activation="sigmoid"), 2)).number > 0.8


@pytest.mark.parametrize(("change", "is_kept"), [(0.29, True), (-0.29, True), (0.31, False), (-0.31, False)])
def test_the_variance_is_kept_within_a_factor_of_2(change: float, is_kept: bool) -> None:
    assert equal_variance(_hand_made(0.0, change)).is_kept is is_kept


def test_where_nothing_is_left_no_rule_is_kept() -> None:
    for initializer in ("zeros", "random_normal(stddev=1e30)"):
        signal = measure(_spec(depth=30, width=4, initializer=initializer), 2)
        assert not equal_variance(signal).is_kept
    assert "no layer has activations" in zero_mean(measure(_spec(depth=2, initializer="zeros"), 1)).sentence


# Bad input


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("text", ["relu", "tanh", "sigmoid", "sine"])
@pytest.mark.parametrize("initializer", ["zeros", "random_normal(stddev=1e-30)", "random_normal(stddev=1e30)"])
@pytest.mark.parametrize(("depth", "width", "samples"), [(1, 1, 1), (60, 1, 2), (20, 4, 8)])
def test_extremes_have_figures(text: str, initializer: str, depth: int, width: int, samples: int) -> None:
    for dataset in ("gaussian", "digits"):
        spec = Spec(depth, width, text, initializer, dataset=dataset, batch_size=samples)
        signal = measure(spec, 2)
        expected = predict(signal)
        assert not np.isnan(signal.forward_log10).any()
        for course in (expected.forward, expected.backward):
            assert not np.isnan(course.median_log10).any()
            assert not np.isnan(course.deviation).any()
        assert all(rule.sentence.endswith(".") for rule in rules(signal))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("normalization", ["none", *NORMALIZATIONS])
@pytest.mark.parametrize("residual", ["off", "plain", "zero"])
def test_extremes_between_normalizations_and_branches(normalization: str, residual: str) -> None:
    for initializer in ("zeros", "random_normal(stddev=1e-30)", "random_normal(stddev=1e30)"):
        spec = Spec(20, 6, "relu", initializer, normalization=normalization, residual=residual, batch_size=4)
        expected = predict(measure(spec, 2))
        assert not np.isnan(expected.forward.median_log10).any()
        assert not np.isnan(expected.backward.median_log10).any()


def test_inputs_that_are_all_alike_stay_alike() -> None:
    """One sample has no other to correlate with; of two equal ones the correlation is 1 in every layer."""
    assert np.isnan(measure(_spec(depth=3, batch_size=1), 1).correlation).all()
    signal = measure(_spec(depth=3, width=16, initializer="zeros", bias="normal(stddev=0.5)", activation="tanh"), 2)
    np.testing.assert_allclose(signal.correlation, 1, atol=1e-12)
    np.testing.assert_allclose(signal.variance_over_samples, 0, atol=1e-30)
    assert (signal.variance_over_units > 0.05).all()


# Quantiles, seeds, inputs


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "gelu"])
@pytest.mark.parametrize(
    "initializer", ["he_normal", "torch_default", "random_normal(stddev=1)", "constant(value=0.1)"]
)
def test_quantiles_rise_and_lie_within_the_values(activation: str, initializer: str) -> None:
    signal = measure(Spec(depth=6, width=30, activation=activation, initializer=initializer), 3)
    assert signal.quantiles.shape == (len(QUANTILES), 6)
    assert (np.diff(signal.quantiles, axis=0) >= 0).all()
    assert (np.diff(QUANTILES) > 0).all()
    assert QUANTILES[len(QUANTILES) // 2] == pytest.approx(0.5)


def test_quantiles_of_many_values_are_those_of_a_fair_sample() -> None:
    """Past 2^13 values a layer only some are kept: layer 1 of gaussian inputs is N(0, 2) all the same."""
    signal = measure(_spec(width=512, depth=1), 24, samples=128, backward=False)
    expected = stats.norm.ppf(QUANTILES) * math.sqrt(2)
    np.testing.assert_allclose(signal.quantiles[:, 0], expected, atol=0.15)


def test_a_seed_is_measured_the_same_alone_or_in_company() -> None:
    spec = Spec(depth=5, width=12, initializer="torch_default", activation="tanh")
    company = measure(spec.replace(seed=3), 4)
    for row, seed in enumerate((3, 4, 5, 6)):
        alone = measure(spec.replace(seed=seed), 1)
        for name in ("forward_log10", "backward_log10", "activation_mean", "variance_over_samples", "dead_fraction"):
            np.testing.assert_array_equal(getattr(company, name)[row], getattr(alone, name)[0])
    assert len(set(company.forward_log10[:, -1])) == 4


@pytest.mark.parametrize("dataset", ["gaussian", "digits"])
def test_measuring_is_reproducible_and_leaves_global_randomness_alone(dataset: str) -> None:
    spec = Spec(depth=3, width=9, dataset=dataset)
    torch.manual_seed(0)
    first, state = measure(spec, 2), torch.get_rng_state()
    torch.manual_seed(5)
    again = measure(spec, 2)
    other = measure(spec.replace(seed=9), 2)
    for name in ("forward_log10", "backward_log10", "quantiles"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))
    torch.manual_seed(0)
    assert torch.equal(torch.get_rng_state(), state)


def test_gaussian_inputs_are_as_wide_as_the_network_and_as_many_as_a_batch() -> None:
    signal = measure(_spec(width=32, depth=2, batch_size=500), 1)
    assert signal.samples == 500
    assert measure(_spec(width=32, depth=2), 1, samples=7).samples == 7
    x = gaussian(32, 5000, 0)
    assert x.shape == (5000, 32)
    assert abs(x.mean()) < 4 / math.sqrt(x.size)
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / x.size)
    assert not np.array_equal(x, gaussian(32, 5000, 1))
    np.testing.assert_array_equal(x, gaussian(32, 5000, 0))


def test_more_samples_than_there_are_means_all_there_are() -> None:
    total = len(load("blobs").train_x)
    signal = measure(Spec(depth=1, width=4, dataset="blobs", batch_size=4096), 1)
    assert signal.samples == total


@pytest.mark.parametrize(("depth", "width"), [(1, 1), (200, 1), (1, 300)])
def test_the_smallest_and_the_deepest(depth: int, width: int) -> None:
    signal = measure(Spec(depth=depth, width=width, activation="tanh", batch_size=1), 2)
    assert signal.forward_log10.shape == signal.backward_log10.shape == (2, depth)
    assert (signal.variance_over_samples == 0).all()
    assert np.isfinite(signal.forward_log10).all()


def test_sigmoids_collapse_shows_in_the_variance_over_samples_alone() -> None:
    signal = measure(Spec(depth=10, width=64, activation="sigmoid", initializer="glorot_normal"), 4)
    spread = np.median(signal.variance_over_samples, axis=0)
    assert spread[-1] < 1e-6 * spread[0]
    assert 0.1 < np.median(10 ** signal.forward_log10[:, -1]) < 10
    assert np.median(signal.activation_mean[:, -1]) == pytest.approx(0.5, abs=0.2)


# Words


def _hand_made(first: float, last: float, depth: int = 11) -> Signal:
    forward = np.linspace(first, last, depth)[None]
    return replace(measure(Spec(depth=depth, width=1), 1, backward=False), forward_log10=forward)


@pytest.mark.parametrize(
    ("first", "last", "factor"),
    [(0.0, 0.0, 1.0), (0.0, -10.0, 0.1), (1.0, 4.0, 10**0.3), (0.0, -6000.0, 0.0), (0.0, 4000.0, math.inf)],
)
def test_the_factor_per_layer(first: float, last: float, factor: float) -> None:
    assert per_layer(_hand_made(first, last)) == pytest.approx(factor)


def test_the_factor_per_layer_of_a_signal_that_ends_or_explodes() -> None:
    ends, explodes, never = _hand_made(0, 1), _hand_made(0, 1), _hand_made(0, 1)
    ends.forward_log10[:, -1] = -np.inf
    explodes.forward_log10[:, -1] = np.inf
    never.forward_log10[:] = -np.inf
    assert per_layer(ends) == 0
    assert per_layer(explodes) == np.inf
    assert per_layer(never) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (0.0, "stays within a factor of 2 from layer 1 to layer 11"),
        (0.3, "stays within a factor of 2"),
        (-0.3, "stays within a factor of 2"),
        (0.31, "grows by a factor of 1.07 per layer"),
        (-0.31, "falls to 0.931 of itself per layer"),
        (-10.0, "falls to 0.1 of itself per layer"),
    ],
)
def test_the_verdict_says_what_happens(change: float, words: str) -> None:
    sentence = verdict(_hand_made(0.5, 0.5 + change))
    assert words in sentence
    assert sentence.endswith(".")


def test_one_layer_keeps_what_it_has() -> None:
    signal = measure(Spec(depth=1, width=4), 1)
    assert per_layer(signal) == 1
    assert "stays within" in verdict(signal)


@pytest.mark.parametrize(
    ("log10", "expected"), [(0.0, 1.0), (-2.0, 0.01), (-400.0, 0.0), (400.0, np.inf), (-np.inf, 0.0)]
)
def test_power(log10: float, expected: float) -> None:
    assert power(log10) == pytest.approx(expected)
