"""Computations of the pages, kept for whoever asks the same again; bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from threading import Lock
from typing import Any, Generic, TypeVar

from winit import budget, distributions, signal, spectrum, theory
from winit.budget import Price
from winit.comparison import Comparison
from winit.fields import BadInput
from winit.initializers import LayerShape, scheme
from winit.lenses import CompareKnobs
from winit.queueing import POOL, turn
from winit.spec import Spec

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Finished results of this process, the last `size` of them."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = Lock()
        self.making = Lock()
        """Held by who makes a result, so that it is made once."""
        self._found: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return a finished result, or None."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: K, result: V) -> None:
        """Keep a finished result; the one unused for longest goes."""
        with self._lock:
            self._found[key] = result
            while len(self._found) > self._size:
                self._found.popitem(last=False)


def _each(
    kept: Kept[Any, V],
    function: Callable[..., V],
    calls: Sequence[tuple[Hashable, ...]],
    price: Callable[..., Price],
    through: Callable[..., Iterable[V]] = POOL.map,
) -> list[V]:
    """Return what a function makes of each call's arguments, kept; what is missing is computed on all cores at once.

    `price` is what a call costs, by its arguments. Pass the plain `map` where the function spreads its work itself.
    Nothing is computed twice at the same time. Not st.cache_data: any visitor can clear that by a message, and it
    copies every result.
    """
    found = {call: kept.get(call) for call in calls}
    if None in found.values():
        expected = Price.of_all([price(*call) for call in calls if found[call] is None])
        with turn(expected.seconds), kept.making:
            # Another thread may have made it while this one waited.
            missing = [call for call in calls if found[call] is None and kept.get(call) is None]
            for call, result in zip(missing, through(lambda call: function(*call), missing), strict=True):
                kept.put(call, result)
                found[call] = result
    return [found[call] or kept.get(call) or function(*call) for call in calls]


def drawn(
    names: Sequence[str], shape: LayerShape, samples: int, seed: int, network: Spec | None
) -> list[distributions.Drawn]:
    """Return `distributions.draw` of each initializer, kept."""
    calls = [(name, shape, samples, seed, _seen(name, network)) for name in names]

    def price(name: str, shape: LayerShape, samples: int, _: int, network: Spec | None) -> Price:
        return budget.draw_price(name, shape, samples, network)

    return _each(_DRAWN, distributions.draw, calls, price)


def close_looks(
    names: Sequence[str], shape: LayerShape, seed: int, network: Spec | None
) -> list[distributions.CloseLook]:
    """Return `distributions.close_look` of each initializer, kept."""
    calls = [(name, shape, seed, _seen(name, network)) for name in names]

    def price(name: str, shape: LayerShape, _: int, network: Spec | None) -> Price:
        return budget.look_price(name, shape, network)

    return _each(_LOOKS, distributions.close_look, calls, price)


def _seen(initializer: str, network: Spec | None) -> Spec | None:
    """Return the network where the initializer looks at it: for the others it would only miss what is kept."""
    return network if scheme(initializer).is_data_dependent else None


def forward_signals(specs: Sequence[Spec], seeds: int, samples: int) -> list[signal.Signal]:
    """Return the forward signal of each network at initialization, kept; fields that do not matter at their default."""
    calls = [(spec, seeds, samples) for spec in specs]
    price = partial(budget.signal_price, backward=False)
    return _each(_SIGNALS, partial(signal.measure, backward=False), calls, price, map)


Study = tuple[signal.Signal, theory.Prediction | str]
"""What was measured, and what theory expects of it or the reason why it expects nothing."""


def studies(specs: Sequence[Spec], seeds: int) -> list[Study]:
    """Return the signal of each network at initialization beside theory, kept; fields as in `forward_signals`."""

    def price(spec: Spec, seeds: int) -> Price:
        return budget.signal_price(spec, seeds, spec.batch_size)

    return _each(_STUDIES, _study, [(spec, seeds) for spec in specs], price, map)


def _study(spec: Spec, seeds: int) -> Study:
    found = signal.measure(spec, seeds)
    return found, signal.predict_or_reason(found)


Spectra = tuple[spectrum.LayerSpectra, spectrum.Jacobian | str]
"""Singular values of layers, and of the Jacobian or the reason why it is not computed."""


def spectra(spec: Spec) -> Spectra:
    """Return the singular values of a network, kept; fields as in `forward_signals`."""
    return _each(_SPECTRA, _spectra, [(spec,)], budget.spectra_price)[0]


def _spectra(spec: Spec) -> Spectra:
    layers = spectrum.layer_spectra(spec)
    try:
        return layers, spectrum.jacobian(spec)
    except BadInput as problem:
        return layers, str(problem)


COMPARISONS: Kept[tuple[Spec, CompareKnobs], Comparison] = Kept(32)
_DRAWN: Kept[tuple[Hashable, ...], distributions.Drawn] = Kept(128)
_LOOKS: Kept[tuple[Hashable, ...], distributions.CloseLook] = Kept(64)
_SIGNALS: Kept[tuple[Hashable, ...], signal.Signal] = Kept(64)
_STUDIES: Kept[tuple[Hashable, ...], Study] = Kept(64)
_SPECTRA: Kept[tuple[Hashable, ...], Spectra] = Kept(16)
