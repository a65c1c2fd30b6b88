"""The signal at initialization against theory at finite width, autograd, and numbers beyond single precision."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from winit import datasets
from winit.network import Member, initialize
from winit.seeds import generator
from winit.signal import QUANTILES, Signal, measure, per_layer, power, verdict
from winit.spec import Spec
from winit.training import seeds_of

SEEDS = 32


def _spread(depth: int, width: int, kappa: float) -> float:
    """Return the standard deviation of ln q at a hidden layer: kappa / n per layer crossed, and 2 / n of its own."""
    return math.sqrt(((depth - 1) * kappa + 2) / width)


def _assert_change(signal: Signal, factor: float, kappa: float) -> None:
    """Assert that ln q changes from layer 1 as theory says, within 4 standard deviations of a mean over seeds.

    The typical network lies below the mean by half the variance that layers 2 and up add (DESIGN.md, section 6).
    Theory is that of a single input: over several the fluctuations partly average out.
    """
    assert signal.samples == 1
    depth, width = signal.spec.depth, signal.spec.width
    change = (signal.forward_log10 - signal.forward_log10[:, :1]) * math.log(10)
    for layer in range(2, depth + 1):
        spread = _spread(layer, width, kappa)
        expected = (layer - 1) * math.log(factor) - (layer - 1) * kappa / width / 2
        # Layer 1 has a fluctuation of its own, 2 / n, in the difference.
        error = math.sqrt((spread**2 + 2 / width) / len(signal.seeds))
        assert abs(change[:, layer - 1].mean() - expected) < 4 * error, layer


@pytest.mark.parametrize("initializer", ["he_normal", "he_uniform", "kaiming_normal"])
def test_he_keeps_the_second_moment_with_relu(initializer: str) -> None:
    signal = measure(
        Spec(depth=20, width=128, initializer=initializer, dataset="gaussian"), SEEDS, samples=1, backward=False
    )
    _assert_change(signal, 1.0, kappa=5)
    assert np.isnan(signal.backward_log10).all()


@pytest.mark.parametrize("initializer", ["glorot_normal", "glorot_uniform", "lecun_normal"])
def test_glorot_halves_the_second_moment_with_relu(initializer: str) -> None:
    """In square layers, and LeCun likewise: fan_in Var(w) = 1, and E phi(z)^2 is half of E z^2."""
    signal = measure(
        Spec(depth=20, width=128, initializer=initializer, dataset="gaussian"), SEEDS, samples=1, backward=False
    )
    _assert_change(signal, 0.5, kappa=5)
    assert per_layer(signal) == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("activation", ["relu", "identity"])
def test_the_spread_over_seeds_is_that_of_theory(activation: str) -> None:
    initializer = "he_normal" if activation == "relu" else "lecun_normal"
    kappa = 5 if activation == "relu" else 2
    spec = Spec(depth=20, width=64, activation=activation, initializer=initializer, dataset="gaussian")
    last = measure(spec, 64, samples=1, backward=False).forward_log10[:, -1] * math.log(10)
    # The relative error of a standard deviation over 64 seeds is 1 / sqrt(126) = 0.09; 4 of those.
    assert float(np.std(last, ddof=1)) == pytest.approx(_spread(20, 64, kappa), rel=0.36)


def test_the_default_of_torch_divides_by_six_until_its_biases_carry() -> None:
    """fan_in Var(w) = 1/3, halved by ReLU, plus the variance of the biases, 1 / (3 n): q' = q / 6 + 1 / (3 n)."""
    width = 512
    spec = Spec(depth=6, width=width, initializer="torch_default", dataset="gaussian")
    signal = measure(spec, 16, backward=False)
    found = np.median(10**signal.forward_log10, axis=0)
    q = 1 / 3 + 1 / (3 * width)
    assert found[0] == pytest.approx(q, rel=0.05)
    for layer in range(1, 4):
        q = q / 6 + 1 / (3 * width)
        assert found[layer] == pytest.approx(q, rel=0.25)
    assert found[1] / found[0] == pytest.approx(1 / 6, rel=0.1)


def test_without_biases_the_law_of_the_default_of_torch_divides_by_six() -> None:
    """U(+-1 / sqrt(fan_in)) has a standard deviation of 1 / sqrt(3 fan_in)."""
    width = 128
    spec = Spec(
        depth=12, width=width, initializer=f"random_normal(stddev={1 / math.sqrt(3 * width)})", dataset="gaussian"
    )
    _assert_change(measure(spec, SEEDS, samples=1, backward=False), 1 / 6, kappa=5)


def test_gradients_of_he_and_relu_keep_their_size() -> None:
    """From the last hidden layer to the first; widths are equal, so what keeps q keeps gradients."""
    signal = measure(Spec(depth=20, width=128, dataset="gaussian"), SEEDS, samples=1)
    change = (signal.backward_log10[:, 0] - signal.backward_log10[:, -1]) * math.log(10)
    # As forward: a unit passes the square of a normal number, or half of the time nothing, so kappa = 3 * 2 - 1 = 5.
    error = _spread(20, 128, 5) / math.sqrt(SEEDS)
    assert abs(change.mean() + 19 * 5 / 128 / 2) < 4 * error


def test_zeros_give_no_signal() -> None:
    signal = measure(Spec(depth=4, initializer="zeros", dataset="digits"), 2)
    assert (signal.forward_log10 == -np.inf).all()
    assert (signal.backward_log10 == -np.inf).all()
    assert (signal.activation_mean == 0).all()
    assert (signal.variance_over_samples == 0).all()
    assert (signal.dead_fraction == 1).all()
    assert per_layer(signal) == 0
    assert verdict(signal) == "The signal is gone: the pre-activations of layer 4 are all 0."


def test_the_logarithms_go_on_where_single_precision_ends() -> None:
    """ReLU with N(0, 0.01^2): each layer multiplies by 64 * 1e-4 / 2 = 3.2e-3, so layer 50 is at about 1e-122."""
    signal = measure(
        Spec(depth=50, width=64, initializer="random_normal(stddev=0.01)", dataset="gaussian"), SEEDS, samples=1
    )
    _assert_change(signal, 64e-4 / 2, kappa=5)
    assert np.isfinite(signal.forward_log10).all()
    assert np.isfinite(signal.backward_log10).all()
    assert (signal.forward_log10[:, -1] < -110).all()
    # float32 ends at 1e-45, so a second moment at 1e-90: an ordinary network shows nothing there.
    assert (signal.forward_log10[:, -1] < 2 * math.log10(torch.finfo(torch.float32).tiny)).all()
    assert (signal.backward_log10[:, 0] < -110).all()
    assert per_layer(signal) == pytest.approx(64e-4 / 2, rel=0.1)
    assert verdict(signal).startswith("The second moment falls to 0.00")


def test_squares_beyond_double_precision_are_carried_as_logarithms() -> None:
    """Linear, N(0, 1e-4^2): a layer multiplies by 64e-8, so that of 60 layers the second moment is at 1e-371."""
    spec = Spec(
        depth=60, width=64, activation="identity", initializer="random_normal(stddev=0.0001)", dataset="gaussian"
    )
    signal = measure(spec, 8, samples=1)
    assert (signal.forward_log10[:, -1] < -330).all()
    _assert_change(signal, 64e-8, kappa=2)
    large = measure(spec.replace(initializer="random_normal(stddev=10000)"), 8, samples=1)
    assert (large.forward_log10[:, -1] > 330).all()
    _assert_change(large, 64e8, kappa=2)


def test_beyond_all_numbers_is_infinite() -> None:
    signal = measure(Spec(depth=60, width=64, initializer="random_normal(stddev=1e+30)", dataset="gaussian"), 2)
    assert (signal.forward_log10[:, 0] < 70).all()
    assert (signal.forward_log10[:, -1] == np.inf).all()
    assert per_layer(signal) == np.inf


def _by_autograd(spec: Spec, seed: int, samples: int) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return pre-activations, activations and gradients by the former of one network, by torch's own layers."""
    function = (lambda z: z) if spec.activation == "identity" else getattr(F, spec.activation)
    ensemble = initialize(spec, [Member(spec.initializer, seed, 0.0)], torch.float64)
    labelled = datasets.DATASETS[spec.dataset].has_labels
    if labelled:
        h = torch.tensor(datasets.load(spec.dataset).train_x[:samples], dtype=torch.float64)
    else:
        h = torch.tensor(datasets.gaussian(spec.inputs, samples, spec.seed), dtype=torch.float64)
    pre_activations, activations = [], []
    for weight, bias in zip(ensemble.weights, ensemble.biases, strict=True):
        linear = nn.Linear(weight.shape[2], weight.shape[1], dtype=torch.float64)
        with torch.no_grad():
            linear.weight.copy_(weight[0])
            linear.bias.copy_(bias[0, :, 0])
        z = linear(h)
        z.retain_grad()
        h = function(z)
        pre_activations.append(z)
        activations.append(h)
    if labelled:
        labels = torch.tensor(datasets.load(spec.dataset).train_y[:samples])
        F.cross_entropy(z, labels, reduction="sum").backward()
    else:
        cotangent = torch.empty(1, spec.outputs, samples, dtype=torch.float64)
        z.backward(cotangent.normal_(generator=generator(seed, "cotangent"))[0].T)
    gradients = [one.grad for one in pre_activations[:-1] if one.grad is not None]
    return [z.detach() for z in pre_activations[:-1]], [a.detach() for a in activations[:-1]], gradients


@pytest.mark.parametrize("dataset", ["digits", "moons", "gaussian"])
@pytest.mark.parametrize(
    ("activation", "initializer"),
    [("relu", "he_normal"), ("tanh", "torch_default"), ("sigmoid", "glorot_normal"), ("selu", "lecun_normal")],
)
def test_every_measurement_is_that_of_a_plain_network(activation: str, initializer: str, dataset: str) -> None:
    spec = Spec(depth=3, width=6, activation=activation, initializer=initializer, dataset=dataset, seed=7)
    signal = measure(spec, 3, samples=10)
    assert signal.seeds == (7, 8, 9)
    assert signal.samples == 10
    pooled: list[list[Tensor]] = [[], [], []]
    for row, seed in enumerate(signal.seeds):
        pre_activations, activations, gradients = _by_autograd(spec, seed, 10)
        assert len(gradients) == 3
        for layer, (z, a, g) in enumerate(zip(pre_activations, activations, gradients, strict=True)):
            assert signal.forward_log10[row, layer] == pytest.approx(math.log10(z.square().mean()), abs=1e-11)
            assert signal.backward_log10[row, layer] == pytest.approx(math.log10(g.square().mean()), abs=1e-11)
            assert signal.activation_mean[row, layer] == pytest.approx(float(a.mean()), rel=1e-11, abs=1e-14)
            spread = float(np.var(a.numpy(), axis=0).mean())
            assert signal.variance_over_samples[row, layer] == pytest.approx(spread, rel=1e-10)
            dead = float((z <= 0).all(dim=0).double().mean()) if activation == "relu" else 0.0
            assert signal.dead_fraction[row, layer] == dead
            pooled[layer].append(z.flatten())
    for layer in range(3):
        expected = np.quantile(torch.cat(pooled[layer]).numpy(), QUANTILES)
        np.testing.assert_allclose(signal.quantiles[:, layer], expected, rtol=1e-10, atol=1e-14)


def _same(one: Signal, other: Signal) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        for field in fields(Signal)
        if field.name != "spec"
    )


@pytest.mark.parametrize("dataset", ["digits", "gaussian"])
def test_the_same_seed_gives_the_same_numbers(dataset: str) -> None:
    spec = Spec(depth=4, width=12, initializer="torch_default", dataset=dataset)
    first = measure(spec, 3)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    assert _same(first, measure(spec, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert not _same(first, measure(spec.replace(seed=1), 3))


def test_a_network_measures_the_same_alone_or_in_company() -> None:
    spec = Spec(depth=4, width=12, seed=3)
    company, alone = measure(spec, 4), measure(spec, 1)
    for name in ("forward_log10", "backward_log10", "activation_mean", "variance_over_samples", "dead_fraction"):
        np.testing.assert_array_equal(getattr(company, name)[:1], getattr(alone, name))
    # On real data another seed changes the network alone, so the second of 3, 4, ... is the first of 4, 5, ...
    later = measure(spec.replace(seed=4), 1)
    np.testing.assert_array_equal(company.forward_log10[1:2], later.forward_log10)


def test_shapes_and_defaults() -> None:
    spec = Spec(depth=5, width=9, batch_size=20)
    signal = measure(spec)
    assert signal.seeds == seeds_of(spec, 8)
    assert signal.samples == 20
    for name in ("forward_log10", "backward_log10", "activation_mean", "variance_over_samples", "dead_fraction"):
        assert getattr(signal, name).shape == (8, 5)
        assert np.isfinite(getattr(signal, name)).all()
    assert signal.quantiles.shape == (len(QUANTILES), 5)
    assert (np.diff(signal.quantiles, axis=0) >= 0).all()


def test_more_samples_than_there_are_mean_all_of_them() -> None:
    assert measure(Spec(depth=1, width=3, dataset="moons", batch_size=4096), 1).samples == 800


def test_quantiles_of_a_large_network_come_from_a_fair_sample() -> None:
    """Over 2^18 values a layer are thinned: what remains is still N(0, 1) for a LeCun first layer on noise."""
    spec = Spec(depth=1, width=512, initializer="lecun_normal", dataset="gaussian", batch_size=200)
    quantiles = measure(spec, 8, backward=False).quantiles[:, 0]
    expected = torch.special.ndtri(torch.tensor(QUANTILES)).numpy()
    np.testing.assert_allclose(quantiles, expected, atol=0.05)


def test_sigmoid_collapses_over_samples_while_its_second_moment_stays() -> None:
    signal = measure(Spec(depth=10, width=128, activation="sigmoid", initializer="glorot_normal"), 4)
    assert (signal.forward_log10[:, -1] > -2).all()
    assert (signal.variance_over_samples[:, -1] < 1e-6 * signal.variance_over_samples[:, 0]).all()


def test_the_widest_and_the_narrowest() -> None:
    narrow = measure(Spec(depth=200, width=1, activation="tanh", batch_size=1), 2)
    assert np.isfinite(narrow.forward_log10).all()
    wide = measure(Spec(depth=1, width=1024), 1)
    assert per_layer(wide) == 1.0


def test_powers_beyond_double_precision() -> None:
    assert power(2.0) == 100.0
    assert power(-400.0) == 0.0
    assert power(400.0) == power(np.inf) == np.inf
    assert power(-np.inf) == 0.0


@pytest.mark.parametrize(
    ("initializer", "words"),
    [
        ("he_normal", "The second moment stays within a factor of 2 from layer 1 to layer 8."),
        ("glorot_normal", "The second moment falls to"),
        ("random_normal(stddev=1)", "The second moment grows to"),
    ],
)
def test_the_verdict_says_what_happens(initializer: str, words: str) -> None:
    signal = measure(Spec(depth=8, width=256, initializer=initializer, dataset="gaussian"), 16, backward=False)
    assert verdict(signal).startswith(words)


def test_the_factor_of_a_signal_made_by_hand() -> None:
    spec = Spec(depth=3, width=2)
    base = measure(spec, 1)

    def made(*logarithms: float) -> Signal:
        return Signal(**{**vars(base), "forward_log10": np.array([logarithms])})

    assert per_layer(made(0.0, -1.0, -2.0)) == pytest.approx(0.1)
    assert per_layer(made(-np.inf, -np.inf, -np.inf)) == 0
    assert per_layer(made(0.0, -5.0, -np.inf)) == 0
    assert per_layer(made(0.0, 200.0, np.inf)) == np.inf
