"""The lenses: the question each page asks, and the knobs it has beside the network's.

A lens's own fields are declared like those of `Spec`; the page's widgets, its address and its
terminal flags follow from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from winit.fields import BadInput, Choice, Declared, Integer, Real, Refused, Several, declare, fields_of
from winit.initializers import FORM, LayerShape
from winit.spec import Spec
from winit.translator import TRANSLATIONS

SAMPLE_LIMIT = 1_000_000
"""At most this many weights are drawn for one figure, by all its initializers together."""

INITIALIZER_LIMIT = 10
"""At most this many initializers are drawn together."""

COMPARED_LIMIT = 40
"""At most this many compete with the network's own; the length of an address allows fewer with long names."""

SIGNAL_LIMIT = 6
"""At most this many are measured beside the network's own."""

RATE_LIMIT = 12
"""At most this many learning rates are tried."""


@dataclass(frozen=True)
class NoKnobs(Declared):
    """A lens without knobs of its own."""


@dataclass(frozen=True)
class DistributionsKnobs(Declared):
    """What Distributions draws beside the network's own initializer, and for which layer."""

    initializers: tuple[str, ...] = declare(
        ("he_uniform", "torch_default"),
        Several(FORM, INITIALIZER_LIMIT),
        label="Drawn beside it",
        help="Further initializers, drawn over the network's own.",
    )
    layer: int = declare(
        2, Integer(1, 201), label="Layer", help="Which layer of the network is drawn; the last is the output layer."
    )
    fan_in: int | None = declare(
        None,
        Integer(1, 1024, optional=True),
        label="fan_in",
        help="Inputs of a unit. Empty: as in the chosen layer.",
    )
    fan_out: int | None = declare(
        None,
        Integer(1, 1024, optional=True),
        label="fan_out",
        help="Units of the layer. Empty: as in the chosen layer.",
    )
    samples: int = declare(
        100_000,
        Integer(1, SAMPLE_LIMIT),
        label="Samples",
        help="Weights drawn from each initializer, in as many layers as that takes; together at most a million.",
    )
    unit: str = declare(
        "weight",
        Choice(("weight", "deviations")),
        label="Axis",
        help="The weight itself, or in standard deviations of its law: compares shapes.",
    )
    view: str = declare(
        "density",
        Choice(("density", "tails", "cumulative")),
        label="Curve",
        help="The density; its logarithm, which shows the tails; or the distribution function.",
    )
    image: str = declare(
        "png",
        Choice(("png", "svg")),
        label="Figures as",
        help="Format of the pictures that the figures' own download buttons save.",
    )
    translate: str = declare(
        "torch_linear",
        Choice(tuple(TRANSLATIONS)),
        label="Your framework writes",
        help="A layer or an initializer as your framework writes it.",
    )

    def samples_each(self, initializers: int) -> int:
        """Return how many weights each of so many initializers draws, within the limit of a figure."""
        return min(self.samples, SAMPLE_LIMIT // initializers)

    def shape(self, spec: Spec) -> LayerShape:
        """Return the shape of the layer that is drawn; a layer beyond the last means the last."""
        shapes = spec.layer_shapes()
        chosen = shapes[min(self.layer, len(shapes)) - 1]
        return replace(chosen, fan_in=self.fan_in or chosen.fan_in, fan_out=self.fan_out or chosen.fan_out)

    def network(self, spec: Spec) -> Spec | None:
        """Return the network whose layer is drawn; None where its layers do not fit, or none has these fans."""
        try:
            spec.require_start(())
        except BadInput:
            return None
        return spec if self.shape(spec) in spec.layer_shapes() else None


@dataclass(frozen=True)
class SignalKnobs(Declared):
    """How many networks are measured, from which initializers, and what is drawn of them."""

    initializers: tuple[str, ...] = declare(
        ("glorot_normal",),
        Several(FORM, SIGNAL_LIMIT),
        label="Measured beside it",
        help="Further initializers, measured in the same network and drawn over the network's own.",
    )
    seeds: int = declare(8, Integer(1, 64), label="Seeds", help="Networks that are measured, each from its own seed.")
    direction: str = declare(
        "both",
        Choice(("forward", "backward", "both")),
        label="Direction",
        help="The pre-activations on their way to the outputs, the gradients on their way back, or both.",
    )
    overlay: tuple[str, ...] = declare(
        ("theory", "band"),
        Several(Choice(("theory", "band", "seeds")), 3, limit=len("theory;band;seeds")),
        label="Shown with the points",
        help="theory: mean-field lines, thick for the typical network of this width, thin for infinite width. "
        "band: where 80 in 100 networks of this width lie. seeds: each network measured.",
    )


@dataclass(frozen=True)
class TrainKnobs(Declared):
    """How many networks learn side by side, from which initializers, and which moment is studied."""

    seeds: int = declare(4, Integer(1, 16), label="Seeds", help="Networks that learn together, each from its own seed.")
    beside: tuple[str, ...] = declare(
        (),
        Several(FORM, 2),
        label="Side by side with",
        help="One or two initializers that learn beside the network's own: the same seeds, the same batches.",
    )
    shown: str = declare(
        "first",
        Choice(("first", "mean")),
        label="Predictions",
        help="Of the first seed's network, or the mean of all seeds.",
    )
    step: int | None = declare(
        None,
        Integer(0, 100_000, optional=True),
        label="Step",
        help="The step that is studied: its figures stand below the player. Empty: none.",
    )


def logarithmic_grid(low: float, high: float, count: int) -> tuple[float, ...]:
    """Return `count` learning rates from `low` to `high` in equal ratios, to three significant digits.

    Raises `BadInput` for a rate that is not above 0, an empty range, or fewer than 2 or too many rates.
    """
    if not 0 < low < high <= 1e10:
        raise BadInput("learning_rates", f"{low:g}..{high:g}", "a logarithmic grid from a rate above 0 to a larger one")
    if not 2 <= count <= RATE_LIMIT:
        raise BadInput("learning_rates", count, f"2 to {RATE_LIMIT} rates of a logarithmic grid")
    ratio = (high / low) ** (1 / (count - 1))
    return tuple(float(f"{low * ratio**number:.3g}") for number in range(count))


@dataclass(frozen=True)
class Rates(Several):
    """A list of learning rates, in which `low..high:count` stands for a logarithmic grid."""

    @property
    def allowed(self) -> str:
        return f"{super().allowed}, or low..high:count for a logarithmic grid, as in 0.001..1:7"

    def read(self, text: str) -> tuple[Any, ...]:
        return self.check(text.split(";") if text else [])

    def check(self, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple) or len(value) > self.maximum:
            raise Refused(self.allowed)
        return super().check([rate for item in value for rate in self._rates(item)])

    def _rates(self, item: Any) -> tuple[Any, ...]:
        """Return the rates that an item of the list stands for."""
        if not isinstance(item, str):
            return (item,)
        low, dots, rest = item.partition("..")
        if not dots:
            return (self.kind.read(item.strip()),)
        high, colon, count = rest.partition(":")
        if not colon:
            raise Refused(self.allowed)
        number = Integer(2, RATE_LIMIT).read(count.strip())
        try:
            return logarithmic_grid(self.kind.read(low.strip()), self.kind.read(high.strip()), number or 0)
        except BadInput as problem:
            raise Refused(problem.allowed) from None


@dataclass(frozen=True)
class CompareKnobs(Declared):
    """What is compared, and over how many seeds."""

    initializers: tuple[str, ...] = declare(
        ("glorot_normal", "orthogonal", "random_normal(stddev=0.01)", "random_normal(stddev=1)"),
        Several(FORM, COMPARED_LIMIT),
        label="Compared with",
        help="The initializers that compete with the network's own.",
    )
    seeds: int = declare(
        5, Integer(1, 50), label="Seeds", help="Runs of each initializer. Five or more give an interval."
    )
    learning_rates: tuple[float, ...] = declare(
        (),
        Rates(Real(0.0, 1e10, exclusive=True), RATE_LIMIT, limit=78),
        label="Learning rates",
        help="Rates to try for each initializer, chosen on one half of the seeds and scored on the other. "
        "0.001..1:7 stands for 7 from 0.001 to 1 in equal ratios. Empty: the network's own.",
    )
    target: int = declare(
        50,
        Integer(1, 100),
        label="Target loss, %",
        help="Of the loss of the best constant predictor. Counted are the steps until a run's training loss is there.",
    )
    curve: str = declare(
        "loss",
        Choice(("loss", "loss_log", "train_accuracy", "test_accuracy")),
        label="Curve",
        help="What is drawn against the step; loss_log is the training loss on a logarithmic axis.",
    )
    runs: str = declare(
        "band",
        Choice(("band", "each")),
        label="Runs",
        help="The middle half of the seeds as a band, or each run as a thin line.",
    )
    only: tuple[int, ...] = declare(
        (),
        Several(Integer(1, COMPARED_LIMIT + 1), 8, limit=15),
        label="Curves of these only",
        help="Numbers of initializers, 1 the network's own: only their curves are drawn. None: all.",
    )

    def undrawn(self) -> CompareKnobs:
        """Return the knobs without what only decides what is drawn: equal ones mean the same comparison."""
        return self.replace(**{field.name: field.default for field in fields_of(CompareKnobs) if field.name in _DRAWN})


_DRAWN = ("curve", "runs", "only")


@dataclass(frozen=True)
class Lens:
    """One question asked of the network."""

    slug: str
    """Name in the address and on the terminal; the empty string is Home."""
    title: str
    question: str
    knobs: type[Declared]


_RECORDS = (
    Lens("", "Home", "Which weight initialization works, and why?", NoKnobs),
    Lens("distributions", "Distributions", "What does this initializer draw?", DistributionsKnobs),
    Lens("signal", "Signal", "Does the signal survive the depth?", SignalKnobs),
    Lens("live", "Train", "Does it learn?", TrainKnobs),
    Lens("compare", "Compare", "Which one wins, and is that luck?", CompareKnobs),
)

LENSES: Mapping[str, Lens] = MappingProxyType({lens.slug: lens for lens in _RECORDS})
"""The lenses by slug, in the order of the navigation."""


def together(first: str, others: tuple[str, ...]) -> tuple[str, ...]:
    """Return the network's initializer followed by the others, each once."""
    return tuple(dict.fromkeys((first, *others)))
