"""Computations of the pages, kept for whoever asks the same again; bounded in number."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from winit import distributions, signal
from winit.comparison import Comparison
from winit.initializers import LayerShape, scheme
from winit.lenses import CompareKnobs
from winit.queueing import turn
from winit.spec import Spec


def _in_turn(function: Callable[..., Any], size: int) -> Callable[..., Any]:
    """Return the function with its last `size` results kept, computing one at a time in this process.

    Not st.cache_data: any visitor can clear that by a message, and it copies every result.
    """

    @lru_cache(maxsize=size)
    def kept(*arguments: Any) -> Any:
        with turn():
            return function(*arguments)

    return kept


_draw = _in_turn(distributions.draw, 128)
_close = _in_turn(distributions.close_look, 64)
_forward = _in_turn(partial(signal.measure, backward=False), 64)


def drawn(initializer: str, shape: LayerShape, samples: int, seed: int, network: Spec | None) -> distributions.Drawn:
    """Return `distributions.draw`, kept."""
    result: distributions.Drawn = _draw(initializer, shape, samples, seed, _seen(initializer, network))
    return result


def close_look(initializer: str, shape: LayerShape, seed: int, network: Spec | None) -> distributions.CloseLook:
    """Return `distributions.close_look`, kept."""
    result: distributions.CloseLook = _close(initializer, shape, seed, _seen(initializer, network))
    return result


def _seen(initializer: str, network: Spec | None) -> Spec | None:
    """Return the network where the initializer looks at it: for the others it would only miss what is kept."""
    return network if scheme(initializer).is_data_dependent else None


def forward_signal(spec: Spec, seeds: int, samples: int) -> signal.Signal:
    """Return the forward signal at initialization, kept; fields that do not matter are to be at their default."""
    result: signal.Signal = _forward(spec, seeds, samples)
    return result


class Kept:
    """Finished comparisons of this process, the last few of them."""

    SIZE = 32

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: OrderedDict[tuple[Spec, CompareKnobs], Comparison] = OrderedDict()

    def get(self, key: tuple[Spec, CompareKnobs]) -> Comparison | None:
        """Return a finished comparison, or None."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: tuple[Spec, CompareKnobs], comparison: Comparison) -> None:
        """Keep a finished comparison; the one unused for longest goes."""
        with self._lock:
            self._found[key] = comparison
            while len(self._found) > self.SIZE:
                self._found.popitem(last=False)


COMPARISONS = Kept()
