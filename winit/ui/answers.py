"""The sentences that answer a page's question, made from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from winit import signal as signals
from winit import theory
from winit.comparison import Comparison, finding, listed
from winit.distributions import Drawn
from winit.figures.palette import coloured
from winit.figures.style import number, number_of_log10, short_name, times
from winit.initializers import LayerShape


def distributions(drawn: Sequence[Drawn]) -> str:
    """Say what the first initializer's scale means for the network, and how the others compare."""
    first, shape = drawn[0], drawn[0].shape
    name = coloured(first.initializer)
    if first.distinct_rows == 1 < shape.fan_out:
        text = f"{name} makes all {shape.fan_out} neurons of the layer the same one."
    elif math.isfinite(first.asked.standard_deviation):
        text = (
            f"{name} draws with standard deviation {number(first.asked.standard_deviation)}: "
            f"{scale(first.sigma_w_squared, shape)}"
        )
    else:
        text = (
            f"{name} fits each layer to the data: here a standard deviation of "
            f"{number(first.drawn.standard_deviation)}, so {_SIGMA} = "
            f"{number(shape.fan_in * first.drawn.standard_deviation**2)}."
        )
    others = [one for one in drawn[1:] if math.isfinite(one.asked.standard_deviation)]
    variance = first.asked.standard_deviation**2
    if not (others and variance > 0):
        return text
    ratios = [(coloured(one.initializer), one.asked.standard_deviation**2 / variance) for one in others]
    same = [other for other, ratio in ratios if abs(ratio - 1) < _EQUAL]
    rest = [(other, ratio) for other, ratio in ratios if abs(ratio - 1) >= _EQUAL]
    said = [f"{listed(same)} {'has' if len(same) == 1 else 'have'} the same variance"] if same else []
    if len(rest) > _MOST_NAMED:
        low, high = (_times(end([ratio for _, ratio in rest])) for end in (min, max))
        said.append(f"the others {low} to {high}" if same else f"In variance the others are {low} to {high}")
    elif rest:
        parts = listed([f"{other} {_times(ratio)}" for other, ratio in rest])
        said.append(parts if same else f"In variance: {parts}")
    return f"{text} {', '.join(said)}." if said else text


_EQUAL = 0.005
_MOST_NAMED = 3
_SIGMA = "σ_w² = fan_in Var"
_SHARES = {1: "just", 2: "half of", 3: "a third of", 4: "a quarter of", 5: "a fifth of", 6: "a sixth of"}


def scale(sigma_w_squared: float, shape: LayerShape) -> str:
    """Say what a variance means for the layers of a network: whether the second moment stays, falls or grows."""
    phi = shape.phi
    factor = sigma_w_squared * theory.second_moment(phi)
    if shape.is_output:
        return f"{_SIGMA} = {number(sigma_w_squared)}."
    inverse = round(1 / factor) if factor > 0 else 0
    needs = _SHARES[inverse] if inverse in _SHARES and abs(factor * inverse - 1) < 0.005 else f"{number(factor)} times"
    says = f"{_SIGMA} = {number(sigma_w_squared)}, {needs} what {phi.label} needs"
    if abs(factor - 1) < 0.005:
        return f"{says}, so the second moment keeps its size."
    return f"{says}, so the second moment {'falls' if factor < 1 else 'grows'} to {number(factor)} of itself per layer."


def _times(ratio: float) -> str:
    return times(number(ratio) if ratio >= 1 or ratio == 0 else f"1/{number(1 / ratio)}")


def home(measured: Sequence[signals.Signal]) -> str:
    """Say what becomes of the signal in the user's network, against the other starts shown."""
    first = measured[0]
    depth = first.spec.depth
    if depth == 1:
        return "One hidden layer: any start is close to its goal. Add layers, and the law of the first weights decides."
    left = signals.over_depth(first)
    kept = (
        "nothing of the signal is left"
        if left == 0
        else f"the second moment at layer {depth} is {number(left)} times that of layer 1"
    )
    return (
        f"The same inputs, the same {depth} layers: only the law of the first random weights differs. "
        f"With {coloured(first.spec.initializer)} {kept}."
    )


def funnel(measured: signals.Signal) -> str:
    """Say in a few words what one funnel shows."""
    factor = signals.per_layer(measured)
    whole = signals.over_depth(measured)
    if measured.spec.depth == 1:
        return "one layer"
    if factor == 0:
        return "gone: every value is 0"
    if 0.5 <= whole <= 2:
        return f"keeps its size to layer {measured.spec.depth}"
    if factor < 1:
        verb = "vanishes" if factor < 0.3 else "fades"
        return f"{verb}: {times(number(factor))} per layer"
    return f"{'explodes' if factor > 3 else 'grows'}: {times(number(factor))} per layer"


def signal(measured: Sequence[signals.Signal]) -> str:
    """Say whether the signal survives with the network's initializer, which rules it keeps, and how others do."""
    first = measured[0]
    mean, variance = signals.rules(first)
    name, depth = coloured(first.spec.initializer), first.spec.depth
    if depth == 1:
        text = f"{name}: one hidden layer, nothing to survive yet."
    else:
        verb = "keeps the variance" if variance.is_kept else "does not keep the variance"
        text = f"{name} {verb}: {_course(first)}, {_gradients(first)}"
        if math.isfinite(mean.number):
            keeps = "is zero" if mean.is_kept else "is not zero"
            text += f"; the mean of activations {keeps} ({number(mean.number)} of their size)"
        text += "."
    others = [f"{coloured(one.spec.initializer)}: {_course(one)}" for one in measured[1 : 1 + _MOST_NAMED]]
    return f"{text} {'; '.join(others)}." if others and depth > 1 else text


def _course(measured: signals.Signal) -> str:
    """Say what becomes of the second moment from the first layer to the last."""
    factor, whole, depth = signals.per_layer(measured), signals.over_depth(measured), measured.spec.depth
    if factor == 0:
        return f"at layer {depth} nothing is left"
    if math.isinf(factor):
        return f"at layer {depth} it is beyond all numbers"
    if 0.5 <= whole <= 2:
        return f"{times(number(whole))} by layer {depth}"
    with np.errstate(invalid="ignore"):
        first, last = np.median(measured.forward_log10[:, [0, -1]], axis=0)
    return f"{times(number(factor))} per layer, {times(number_of_log10(float(last - first)))} by layer {depth}"


def _gradients(measured: signals.Signal) -> str:
    """Say what becomes of the gradients on their way back."""
    with np.errstate(invalid="ignore"):
        first, last = np.median(measured.backward_log10[:, [0, -1]], axis=0)
    if not (math.isfinite(first) and math.isfinite(last)):
        return "gradients are gone" if min(first, last) == -math.inf else "gradients are beyond all numbers"
    return f"gradients {times(number_of_log10(float(first - last)))} back at layer 1"


def comparison(found: Comparison) -> str:
    """Say what a comparison found, in the colours of the page."""
    return finding(found, name=_short, verb=lambda status, word: f":{_COLOURS[status]}[**{word}**]")


def pairs(found: Comparison) -> str:
    """Say which pairs of a comparison the seeds do not tell apart, and about how many seeds would."""
    open_pairs = [pair for pair in found.pairs if not pair.is_told_apart]
    seeds = max(pair.seeds for pair in found.pairs)
    runs = "1 seed" if seeds == 1 else f"{seeds} seeds"
    if not open_pairs:
        return f"Every pair is told apart by {runs}: the interval of its probability leaves out one half."
    said = []
    for pair in open_pairs[:_MOST_NAMED]:
        would = "no number would, as it stands" if pair.needed is None else f"about {pair.needed:,} would"
        said.append(f"{_short(pair.first)} and {_short(pair.second)} ({pair.probability:.2f}; {would})")
    more = len(open_pairs) - len(said)
    rest = f"; and {more} more pairs" if more > 1 else "; and 1 more pair" if more else ""
    return f"Not told apart by {runs}: {', '.join(said)}{rest}. Colour: told apart. Ties count half."


def _short(initializer: str) -> str:
    return coloured(initializer, short_name(initializer))


_COLOURS = {"stalled": "gray", "worse": "gray", "diverged": "red"}
