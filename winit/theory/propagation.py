"""Second moments through a network of given layers, forward and backward, with the error of a finite width.

The mean. Given what is below, a pre-activation z_i = sum_j W_ij h_j + b_i is Gaussian, of second moment
q' = fan_in Var(w) H + Var(b), where H is the second moment of h; so H = E phi^2 one layer on (He et al. 2015, eq. 8;
Poole et al. 2016, eq. 3). A residual stream h + s phi(z) keeps H + s^2 E phi^2 + 2 s M E phi, M the mean of h over
units, since z and h are independent given the layers below. Gradients fall or grow by fan_out Var(w) E phi'^2
(He et al. 2015, eq. 13; Schoenholz et al. 2017, eq. 15, with weights that are new on the way back). Batch
normalization is taken at its stationary state, each pre-activation N(0, 1) over the batch (Yang et al. 2019,
arXiv:1902.08129). All in logarithms.

The error. Let y = ln q' of one sample. A layer of n units replaces E phi^2 by an average of n independent terms, so

    y' = F(y) + w e,   Var e = kappa / n,   kappa = E phi^4 / (E phi^2)^2 - 1,

where w is the share of the weights in q' (biases do not fluctuate with the signal) and F' = w d ln E phi^2 / d ln q.
To leading order in 1/n variances add up as Var y' = F'^2 Var y + w^2 kappa / n, and, by the second order of F and
of the logarithm, E y' = F(E y) + F'' Var y / 2 - w^2 kappa / (2 n). (The code has ln(1 + kappa / n) for kappa / n,
the variance of the logarithm of a log-normal factor, which serves narrow layers too.) The average over n measured
units adds 2 / n to the variance and -1 / n to the mean. Backward, ln g = ln g' + ln E phi'^2 (y) + e with
Var e = kappa' / n, where kappa' = 3 E phi'^4 / (E phi'^2)^2 - 1, because the vector that comes back through W^T is
Gaussian too; the deviations of y in all layers on the way enter by d ln E phi'^2 / d ln q, together with their
covariance with e.

What this leaves out: the same weights carry the signal forward and the gradient back, so where both z and h have
means, gradients of all units share a direction that grows by sigma_w^2 (E h) (E phi'') a layer, from a start of 1 / n.
It shows in deep networks of softplus, and of ReLU with plain residual branches, whose gradients are then larger.

Samples. Two samples of correlation c share weights, and so errors: kappa becomes Cov(phi(u)^2, phi(v)^2) over
(E phi^2)^2. With V and C the variance and covariance of their logarithms, the variance of that of the average over B is
C + ln(1 + (e^(V - C) - 1) / B). A correlation is itself an average over units: its variance is carried along.

Orthogonal weights keep lengths: what phi^2 and phi'^2 share with z^2 does not fluctuate. A regression on z^2 takes
2 (d ln E phi^2 / d ln q)^2 c^2 off kappa (3 for ReLU instead of 5, 0 for the identity), the 2 / n of a measured
length is 2 max(0, 1 / fan_out - 1 / fan_in), and backward likewise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from winit.activations import Activation
from winit.theory.averages import Averages, Series, averages, correlation, log_squares
from winit.theory.rules import Array

BAND = 0.8
"""The share of networks that lie between `low` and `high`: as between the quantiles 0.1 and 0.9 over seeds."""

_BAND_DEVIATIONS = 1.2815515655446004  # of a normal law, that leave a tenth on each side
_SAME = 1e-13  # of ln q: layers behind a normalization by batches soon differ by less
_GROUPS = 64
"""Inputs of like length are taken together, in so many groups."""


@dataclass(frozen=True)
class LayerLaw:
    """What theory needs to know of a linear layer."""

    fan_in: int
    fan_out: int
    log_weight_variance: float
    """Natural logarithm; -inf for weights of 0."""
    log_bias_variance: float


@dataclass(frozen=True)
class Blocks:
    """What stands between the linear layers beside the activation."""

    normalization: str = "none"
    """none, batch, layer or rms."""
    epsilon: float = 0.0
    """What a normalization adds to the variance."""
    branch_scale: float | None = None
    """Factor on residual branches, hidden layers 2 to depth; None where there are none."""


@dataclass(frozen=True)
class Inputs:
    """What a network is shown."""

    second_moments: Array
    """(samples,) mean square of each input over features."""
    correlation: float
    """Mean over pairs of inputs of their inner product per feature, over the mean second moment."""
    spread: float
    """Variance of that over pairs."""

    @classmethod
    def of(cls, x: Array) -> Inputs:
        """Return that of inputs (samples, features)."""
        x = np.asarray(x, dtype=np.float64)
        count, features = x.shape
        squares = (x * x).mean(axis=1)
        total = float(squares.sum())
        if count == 1 or total == 0:
            return cls(squares, 1.0, 0.0)
        pairs, mean = count * (count - 1), total / count
        gram = (x @ x.T if count < features else x.T @ x) / features
        correlation = (float((x.sum(axis=0) ** 2).sum()) / features - total) / pairs / mean
        square = (float((gram * gram).sum()) - float((squares**2).sum())) / pairs / mean**2
        return cls(squares, max(-1.0, min(1.0, correlation)), max(0.0, square - correlation**2))


@dataclass(frozen=True)
class Course:
    """A second moment by hidden layer, 1 to depth, as base-10 logarithms; -inf where it is 0."""

    log10: Array
    """(depth,) of infinite width: the thin line."""
    median_log10: Array
    """(depth,) of the typical network of this width: the thick line. Networks are log-normal around it."""
    low_log10: Array
    """(depth,) the tenth of networks that are smallest lie below."""
    high_log10: Array
    """(depth,) the tenth of networks that are largest lie above."""
    deviation: Array
    """(depth,) standard deviation over networks of the natural logarithm."""

    @classmethod
    def around(cls, log: Array, shift: Array, variance: Array) -> Course:
        """Return the course of ln moments (depth,) with the shift of the typical network and its variance."""
        deviation = np.sqrt(np.maximum(variance, 0.0))
        median = (log + shift) / math.log(10)
        reach = _BAND_DEVIATIONS * deviation / math.log(10)
        return cls(log / math.log(10), median, median - reach, median + reach, deviation)

    def anchored(self, median_log10: float) -> Course:
        """Return the course moved so that its median ends, in the last layer, at a given value."""
        last = float(self.median_log10[-1])
        if not (math.isfinite(last) and math.isfinite(median_log10)):
            return self
        lines = (self.log10, self.median_log10, self.low_log10, self.high_log10)
        log10, median, low, high = (line + (median_log10 - last) for line in lines)
        return Course(log10, median, low, high, self.deviation)


@dataclass(frozen=True)
class Prediction:
    """What theory expects of a network, hidden layers 1 to depth."""

    forward: Course
    """Second moment of the pre-activations over units and samples."""
    backward: Course
    """Second moment of the gradient by the pre-activations, where that by the outputs has second moment 1."""
    correlation: Array
    """(depth,) between the pre-activations of two inputs, from the mean correlation of the inputs."""
    activation_mean: Array
    """(depth,) E phi(z) over units."""

    def anchored(self, backward_log10: float) -> Prediction:
        """Return it with the backward course moved to end at a measured value; see `Course.anchored`."""
        return replace(self, backward=self.backward.anchored(backward_log10))


@dataclass(frozen=True)
class _Forward:
    """The mean course forward, by hidden layer (depth, groups) or (depth,)."""

    out_log_scale: float
    """As `log_scale`, of a normalization before the output layer."""
    log_q: Array
    """(depth, groups) of what the activation is applied to."""
    log_scale: Array
    """(depth,) ln of the square by which a normalization before the linear layer or after it divides; 0 without."""
    share: Array
    """(depth,) of the weights in q."""
    kept: Array
    """(depth,) d ln of the normalized over d ln of what is normalized, before or after the linear layer."""
    correlation: Array
    """(depth,) of two samples, on average over pairs and networks, and ..."""
    spread: Array
    """(depth,) ... its variance over both."""
    stream: Array
    """(depth,) share of the skip in the stream after the layer: how ln H follows ln H below; 0 without."""
    branch: Array
    """(depth,) and how it follows ln E phi^2; 1 without."""
    noise: Array
    """(depth,) factor on the error of E phi^2 in that of H, and ..."""
    crossed: Array
    """(depth,) ... on that of the product of stream and branch."""
    kept_after: Array
    """(depth,) `kept` of a normalization after the linear layer; 1 without."""


@dataclass(frozen=True)
class _Back:
    """The mean course back."""

    log: Array
    """(depth, groups) of the gradient by the pre-activations."""
    share: Array
    """(depth,) of the branch in the gradient below it; 1 without a skip."""


def _grouped(values: Array) -> tuple[Array, Array]:
    """Return means of like values (groups,), and the log of the share of each group."""
    parts = [part for part in np.array_split(np.sort(values), _GROUPS) if part.size]
    return np.array([part.mean() for part in parts]), np.log([part.size / values.size for part in parts])


def _log_mean(log: Array, log_share: Array) -> Array:
    """Return ln of the average over groups, the last axis."""
    found: Array = np.logaddexp.reduce(log + log_share, axis=-1)
    return found


_THIRDS = np.array([-math.sqrt(3), 0.0, math.sqrt(3)])
_SIXTHS = np.array([1.0, 4.0, 1.0]) / 6
"""Weights at `_THIRDS` of an average over a normal law of a function that is not far from a parabola."""


def _over_pairs(f: Callable[[Array], Array], c: Array, spread: Array) -> Array:
    """Return the average of f over correlations of mean c (N,) and a variance (N,)."""
    found: Array = _SIXTHS @ np.stack([f(each) for each in _around(c, spread)])
    return found


def _around(c: Array | float, spread: Array | float) -> Array:
    """Return the correlations at which a function is averaged, (3, ...)."""
    found: Array = np.clip(c + np.multiply.outer(_THIRDS, np.sqrt(spread)), -1, 1)
    return found


class _Normalizer:
    """A normalization as theory sees it."""

    def __init__(self, blocks: Blocks, samples: int) -> None:
        self.kind, self.epsilon, self.samples = blocks.normalization, blocks.epsilon, samples

    def __call__(self, log_h: Array, mean: float, c: float, log_share: Array) -> tuple[Array, float, float]:
        """Return ln of the second moments after it, ln of the square it divides by, and what it keeps.

        `mean` is over units, over the root of the second moment; `c`, the correlation, counts for batches only. What
        it keeps is d ln after / d ln before.
        """
        if self.kind == "none":
            return log_h, 0.0, 1.0
        if self.kind == "batch":
            varying = log_h + math.log(max(1 - c, 1e-300)) + math.log1p(-1 / self.samples)
            divisor = np.logaddexp(_log_mean(varying, log_share), math.log(self.epsilon))
            after = np.full_like(log_h, float(_log_mean(varying, log_share) - divisor))
            return after, float(divisor), float(1 - np.exp(after[0]))
        varying = log_h + math.log(max(1 - self._centred(mean), 1e-300))
        divisor = np.logaddexp(varying, math.log(self.epsilon))
        after = varying - divisor
        all_after = float(_log_mean(after, log_share))
        # What gradients are divided by: the average over samples is that of the inverse.
        return after, -float(_log_mean(-divisor, log_share)), 1 - math.exp(all_after)

    def _centred(self, mean: float) -> float:
        return mean * mean if self.kind == "layer" else 0.0

    def correlation(self, c: float, mean: float) -> float:
        """Return the correlation after it."""
        if self.kind == "batch":
            return -1 / (self.samples - 1)
        return (c - self._centred(mean)) / max(1 - self._centred(mean), 1e-300)


@dataclass
class _Pairs:
    """The correlation of two samples on its way through the layers, and its variance over pairs and networks."""

    c: float
    spread: float
    normalizer: _Normalizer

    def entered(self, share: float, mean: float, *, is_branch: bool) -> float:
        """Return the correlation of the pre-activations that a linear layer makes, before what follows it."""
        below = self.normalizer.correlation(self.c, mean) if is_branch else self.c
        return share * below + 1 - share

    def pass_on(self, series: Series, c: float, spread: float, fan_out: int, skip: tuple[float, float, float]) -> None:
        """Go on from pre-activations of correlation c; `skip` is what the stream has of itself, the branch and both."""
        images = series(_around(c, spread))
        product, squared = float(_SIXTHS @ images), float(_SIXTHS @ images**2)
        of_stream, of_branch, of_both = skip
        whole = of_stream + of_branch + of_both
        self.c = (self.c * of_stream + product * of_branch + of_both) / whole
        # A correlation, too, is an average over the units of the layer.
        own = max(0.0, squared - product**2) + max(0.0, 1 - squared) ** 2 / fan_out
        self.spread = own * (of_branch / whole) ** 2


def _forward(
    activation: Activation, layers: Sequence[LayerLaw], inputs: Inputs, blocks: Blocks
) -> tuple[_Forward, Averages]:
    """Return the mean course, and all averages at its second moments.

    First lengths, then correlations, for all layers at once; a normalization by batches needs both layer by layer.
    """
    moments, log_share = _grouped(inputs.second_moments)
    shares = np.exp(log_share)
    with np.errstate(divide="ignore"):
        log_h = np.log(moments)
    normalizer = _Normalizer(blocks, inputs.second_moments.size)
    pairs = _Pairs(inputs.correlation, inputs.spread, normalizer)
    has_skips, is_batch = blocks.branch_scale is not None, blocks.normalization == "batch"
    mean, x_of_series = 0.0, math.inf
    log_qs: list[Array] = []
    rows: list[tuple[float, ...]] = []
    skips: list[tuple[float, float, float]] = []
    means: list[float] = []
    c_z, spread_z = np.empty(len(layers) - 1), np.empty(len(layers) - 1)

    def relate(number: int, series: Series) -> None:
        """Take the correlation through a layer whose lengths are known."""
        share = rows[number][1]
        c = pairs.entered(share, means[number], is_branch=has_skips and number > 0)
        c_z[number] = c if has_skips else normalizer.correlation(c, 0.0)
        spread_z[number] = share * share * pairs.spread
        pairs.pass_on(series, c_z[number], spread_z[number], layers[number].fan_out, skips[number])

    for number, layer in enumerate(layers[:-1]):
        is_branch = has_skips and number > 0
        means.append(mean)
        below, log_scale, kept = log_h, 0.0, 1.0
        if is_branch:
            below, log_scale, kept = normalizer(log_h, mean, pairs.c, log_share)
        from_weights = math.log(layer.fan_in) + layer.log_weight_variance + below
        log_q = np.logaddexp(from_weights, layer.log_bias_variance)
        all_q, all_weights = (float(_log_mean(log, log_share)) for log in (log_q, from_weights))
        share = math.exp(all_weights - all_q) if all_q > -math.inf else 1.0
        if not has_skips:
            c = pairs.entered(share, mean, is_branch=False)
            log_q, log_scale, kept = normalizer(log_q, 0.0, c, log_share)
        log_square, _, average = log_squares(activation, log_q)
        tau = float(average @ shares)
        skip = (0.0, 1.0, 0.0)
        stream, branch, noise, crossed = 0.0, 1.0, 1.0, 0.0
        if is_branch:
            # In units of the larger of both, so that neither overflows.
            scale = blocks.branch_scale or 0.0
            log_ratio = 2 * math.log(scale) if scale else -math.inf
            log_ratio += float(_log_mean(log_square, log_share)) - float(_log_mean(log_h, log_share))
            log_ratio = -math.inf if math.isnan(log_ratio) else log_ratio
            top = max(log_ratio, 0.0)
            a, b = math.exp(-top / 2), math.exp((log_ratio - top) / 2)
            skip = a * a, b * b, 2 * a * b * mean * tau
            whole = sum(skip)
            log_h = log_h + top + math.log(max(whole, 1e-300))
            mean = (mean * a + tau * b) / math.sqrt(whole)
            stream, branch = (a * a + skip[2] / 2) / whole, (b * b + skip[2] / 2) / whole
            noise, crossed = (b * b / whole) ** 2, (2 * a * b / whole) ** 2
        else:
            mean, log_h = tau, log_square
        skips.append(skip)
        log_qs.append(log_q)
        rows.append((log_scale, share, kept, stream, branch, noise, crossed, 1.0 if has_skips else kept))
        if is_batch:
            x = float(_log_mean(log_q, log_share))
            if not abs(x - x_of_series) < _SAME:
                x_of_series, series = x, correlation(activation, np.array([x]))
            relate(number, series)
    log_q = np.array(log_qs)
    log_scale, share, kept, *columns = np.array(rows).T
    found = averages(activation, _log_mean(log_q, log_share))
    if not is_batch:
        for number in range(len(rows)):
            relate(number, found.value[number])
    out = normalizer(log_h, mean, pairs.c, log_share)[1] if has_skips else 0.0
    return _Forward(out, log_q, log_scale, share, kept, c_z, spread_z, *columns), found


def _back(activation: Activation, layers: Sequence[LayerLaw], blocks: Blocks, forward: _Forward) -> _Back:
    """Return the mean course of the gradients, where that by the outputs has second moment 1."""
    depth, groups = forward.log_q.shape
    has_skips = blocks.branch_scale is not None
    log_slope = log_squares(activation, forward.log_q.ravel())[1].reshape(depth, groups)

    def through(layer: LayerLaw, log_scale: float) -> float:
        """Return ln of what a linear layer, with the normalization beside it, makes of a gradient that returns.

        The 2 / n that a normalization takes off a gradient, its mean and its part along the normalized vector, it
        returns by the inverse of a variance, whose mean is 1 + 2 / n.
        """
        return math.log(layer.fan_out) + layer.log_weight_variance - log_scale

    log_stream = np.full(groups, through(layers[depth], forward.out_log_scale))
    log, share = np.empty((depth, groups)), np.ones(depth)
    for number in range(depth - 1, -1, -1):
        layer = layers[number]
        is_branch = has_skips and number > 0
        log[number] = log_slope[number] + log_stream
        if is_branch:
            log[number] += 2 * math.log(blocks.branch_scale) if blocks.branch_scale else -math.inf
        following = log[number] + through(layer, float(forward.log_scale[number]))
        if is_branch:
            both = np.logaddexp(log_stream, following)
            with np.errstate(invalid="ignore"):
                share[number] = np.nan_to_num(np.exp(following - both)).mean()
            following = both
        log_stream = following
    return _Back(log, share)


@dataclass(frozen=True)
class _Errors:
    """Relative variances, for one sample and for two: (2, depth) each."""

    square: Array
    """Of the average of phi^2 over the units of a layer, and of the stream that it enters."""
    slope: Array
    """Of the average of the squared gradient."""
    mixed: Array
    """Covariance of both."""
    length: Array
    """Of the mean square of the pre-activations, given the variance from which they are drawn."""
    crossing: Array
    """Of the product of a gradient along a skip and one out of a branch; times share and its complement."""


def _alignment(layers: Sequence[LayerLaw], forward: _Forward, found: Averages, alignment: float) -> Array:
    """Return the mean squared cosine between the gradients of two samples that enter each hidden layer, (depth,)."""

    def squared(c: Array) -> Array:
        kept: Array = found.slope(c) ** 2
        return kept

    kept = _over_pairs(squared, forward.correlation, forward.spread)
    aligned = np.empty(len(kept))
    for number in range(len(kept) - 1, -1, -1):
        # As the correlation forward: an average over the units that the gradient comes from.
        alignment += max(0.0, 1 - alignment) ** 2 / layers[number + 1].fan_out
        aligned[number] = min(1.0, alignment)
        alignment = aligned[number] * float(kept[number])
    return aligned


def _errors(
    layers: Sequence[LayerLaw], forward: _Forward, found: Averages, is_orthogonal: bool, alignment: float
) -> _Errors:
    depth = len(layers) - 1
    n = np.array([layer.fan_out for layer in layers[:-1]], dtype=float)
    aligned_two = _alignment(layers, forward, found, alignment)

    def pair(one: Array | float, two: Array | float) -> Array:
        return np.stack([np.broadcast_to(one, depth), np.broadcast_to(two, depth)])

    def over(f: Callable[[Array], Array]) -> Array:
        return _over_pairs(f, forward.correlation, forward.spread)

    squared_c, aligned = pair(1.0, over(np.square)), pair(1.0, aligned_two)
    square = pair(found.fourth, over(found.square)) - 1
    slope = (1 + 2 * aligned) * pair(found.slope_fourth, over(found.slope_square)) - 1
    mixed = pair(found.mixed, over(found.square_and_slope)) - 1
    length = 2 * squared_c / n
    product = pair(1.0, forward.correlation) * (pair(1.0, over(found.value)) - found.mean**2)
    slope_noise = slope / n
    if is_orthogonal:
        s, t = found.growth, found.slope_growth
        fan_in = np.array([layer.fan_in for layer in layers[:-1]], dtype=float)
        above = np.array([layer.fan_out for layer in layers[1:]], dtype=float)
        square, mixed = square - 2 * s * s * squared_c, mixed - 2 * s * t * squared_c
        w = forward.share
        length = 2 * squared_c * ((1 - w * w) / n + w * w * np.maximum(0.0, 1 / n - 1 / fan_in))
        kept_length = 2 * aligned * (1 / n - np.maximum(0.0, 1 / n - 1 / above))
        slope_noise = (slope - 2 * t * t * squared_c) / n - kept_length
    return _Errors(
        np.log1p(np.maximum(forward.noise * square + forward.crossed * product, -0.5) / n),
        np.log1p(np.maximum(slope_noise, -0.5)),
        forward.branch * mixed / n,
        # After a normalization by units or samples the length is what it is made to be.
        length * forward.kept_after**2,
        4 * aligned / n,
    )


def _of_batch(shift: Array, variance: Array, samples: int) -> tuple[Array, Array]:
    """Return shift and variance of ln of an average over samples, from those of one (and of two together)."""
    # An average over few log-normal samples of a wide law misses the tail that would rule it: it sees no wider a law
    # than their number tells apart, and varies at least as the samples' own logarithms would on average.
    apart = variance[0] - variance[1]
    seen = np.minimum(apart, math.log(samples))
    wide = np.log1p(np.expm1(seen) / samples)
    is_wide = wide > apart / samples
    whole = variance[1] + np.where(is_wide, wide, apart / samples)
    return shift + (variance[1] + np.where(is_wide, seen, apart) - whole) / 2, whole


def predict(
    activation: Activation,
    layers: Sequence[LayerLaw],
    inputs: Inputs,
    *,
    blocks: Blocks | None = None,
    is_orthogonal: bool = False,
    alignment: float = 0.0,
) -> Prediction:
    """Return the moments of a network of hidden layers and one output layer, (depth + 1) laws.

    `alignment` is the mean over pairs of samples of the squared cosine between their gradients by the outputs:
    0 for independent ones.
    """
    blocks = blocks or Blocks()
    depth, samples = len(layers) - 1, inputs.second_moments.size
    forward, found = _forward(activation, layers, inputs, blocks)
    back = _back(activation, layers, blocks, forward)
    _, log_share = _grouped(inputs.second_moments)
    log_q = _log_mean(forward.log_q, log_share)
    error = _errors(layers, forward, found, is_orthogonal, alignment)
    n = np.array([layer.fan_out for layer in layers[:-1]], dtype=float)
    s, t = found.growth, found.slope_growth
    s_bend, t_bend = found.bend, found.slope_bend
    # A length that is kept does not average over lengths as a free one does: q^2 d^2/dq^2, relative, is missing.
    radial = 1.0 if is_orthogonal else 0.0
    s_radial, t_radial = (radial * (bend + g * g - g) / n for bend, g in ((s_bend, s), (t_bend, t)))
    follows = forward.share * forward.kept  # how ln q follows ln H below

    # Forward: h is ln H after a layer, y is ln q in it.
    h_shift, h_variance = 0.0, np.zeros(2)
    y_shift, below = np.zeros(depth), np.zeros((2, depth))
    own = error.length if is_orthogonal else np.zeros((2, depth))  # what y has beside h
    for k in range(depth):
        below[:, k] = h_variance
        w = forward.share[k]
        y_shift[k] = follows[k] * h_shift + forward.kept[k] * w * (1 - w) * h_variance[0] / 2 - own[0, k] / 2
        y_variance = follows[k] ** 2 * h_variance + own[:, k]
        through = forward.branch[k] * s[k]
        mixing = forward.stream[k] * forward.branch[k] * (1 - s[k] * follows[k]) ** 2
        h_shift = (
            forward.stream[k] * h_shift
            + through * y_shift[k]
            + forward.branch[k] * (s_bend[k] * y_variance[0] / 2 - s_radial[k])
            + (mixing * h_variance[0] - error.square[0, k]) / 2
        )
        h_variance = (
            (forward.stream[k] + through * follows[k]) ** 2 * h_variance + through**2 * own[:, k] + error.square[:, k]
        )
    y_variance = follows**2 * below + own
    measured = error.length - own
    q_shift, q_variance = _of_batch(y_shift - measured[0] / 2, y_variance + measured, samples)

    # Backward: from the last layer down; `pull` is how the layers above follow h of the layer.
    outputs = layers[depth].fan_out
    shift, variance = np.zeros(depth), np.zeros((2, depth))
    above_shift, above = -1 / outputs, 2 / outputs * np.array([1.0, alignment])

    def entering(factor: float, k: int, pull: float) -> tuple[float, Array]:
        """Return the pull on h below layer k, and the variance that k adds, where its gradient enters by `factor`."""
        on_y = factor * t[k] + forward.branch[k] * s[k] * pull
        added = factor**2 * error.slope[:, k] + 2 * factor * pull * error.mixed[:, k] + pull**2 * error.square[:, k]
        return follows[k] * on_y + forward.stream[k] * pull, added + on_y**2 * own[:, k]

    pull = 0.0
    for k in range(depth - 1, -1, -1):
        own_shift = t[k] * y_shift[k] + t_bend[k] * y_variance[0, k] / 2 - t_radial[k] - error.slope[0, k] / 2
        pull_here, added = entering(1.0, k, pull)
        shift[k], variance[:, k] = above_shift + own_shift, above + added + pull_here**2 * below[:, k]
        beta = float(back.share[k])
        pull, added = entering(beta, k, pull)
        above_shift += beta * own_shift
        above = above + added + beta * (1 - beta) * error.crossing[:, k]
    g_shift, g_variance = _of_batch(shift, variance, samples)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = found.mean * np.exp(found.log_square / 2)
    return Prediction(
        Course.around(log_q, q_shift, q_variance),
        Course.around(_log_mean(back.log, log_share), g_shift, g_variance),
        forward.correlation,
        mean,
    )
