"""The lenses from a terminal: `python -m winit LENS [--field value ...]`.

One JSON object on standard output, progress on standard error. Bad input: exit code 2 and one line
that names the field, the value and what is allowed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any
from urllib.parse import urlencode

import numpy as np
import plotly.graph_objects as go

from winit import __version__, budget, comparison, distributions, export, permalink, signal, store, theory, training
from winit.activations import ACTIVATIONS, activation
from winit.crew import crewed
from winit.datasets import DATASETS
from winit.fields import (
    BadInput,
    Choice,
    Declared,
    Field,
    Integer,
    Several,
    Text,
    declare,
    fields_of,
    nearest,
)
from winit.figures import comparison as comparison_figures
from winit.figures import distributions as figures
from winit.figures import saving
from winit.figures import signal as signal_figures
from winit.figures.palette import LIGHT
from winit.initializers import FRAMEWORKS, INITIALIZERS, LEFT_OUT, require_answer, scheme
from winit.initializers.biases import BIASES
from winit.layers import NORMALIZATIONS, RESIDUALS
from winit.lenses import LENSES, CompareKnobs, DistributionsKnobs, SignalKnobs, TrainKnobs, together
from winit.network import Member, seeds_of
from winit.optimizers import OPTIMIZERS, SCHEDULES
from winit.spec import Spec
from winit.sweep import Curves, Sweep
from winit.translator import TRANSLATIONS, explain


@dataclass(frozen=True)
class _Recording(Declared):
    """How densely a run is recorded."""

    every: int | None = declare(
        None, Integer(1, 100_000, optional=True), label="Every", help="Record each so many steps; without it, about 45."
    )


@dataclass(frozen=True)
class _Code(Declared):
    """Which framework the code is for."""

    framework: str = declare("torch", Choice(FRAMEWORKS), label="Framework", help="Whose code is written.")


@dataclass(frozen=True)
class _Theory(Declared):
    """Where in the phase diagram."""

    sigma_w: float = declare(
        1.0, theory.SIGMA, label="sigma_w", help="Root of fan_in times the variance of the weights."
    )
    sigma_b: float = declare(0.0, theory.SIGMA, label="sigma_b", help="Standard deviation of the biases.")


@dataclass(frozen=True)
class _Saved(Declared):
    """Where the lens's main figure goes."""

    figure: str = declare(
        "",
        Text("a file name that ends in " + ", ".join(saving.FORMATS), saving.check_name),
        label="Figure",
        help="Also write the figure to this file; PNG and SVG need the package kaleido and a Chromium.",
    )

    def save(self, draw: Callable[[], go.Figure]) -> None:
        """Draw the figure and write it, where a file was named."""
        if self.figure:
            saving.save(draw(), self.figure)


@dataclass(frozen=True)
class _Catalogue(Declared):
    """Nothing to set."""


@dataclass(frozen=True)
class Command:
    """One lens on the terminal: its own flags, and what it computes."""

    summary: str
    owners: tuple[type[Declared], ...]
    run: Callable[..., dict[str, Any]]
    """Called with one instance of each owner, in order."""


_PARTS: Mapping[str, Mapping[str, Any]] = {
    "normalizations": NORMALIZATIONS,
    "residuals": RESIDUALS,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
}


def _catalogue() -> dict[str, Any]:
    def described(field: Field) -> dict[str, Any]:
        return {"name": field.name, "default": field.default, "range": field.kind.allowed, "help": field.help}

    return {
        "initializers": [
            {
                "name": record.name,
                "aliases": [name for name in INITIALIZERS.aliases if INITIALIZERS.read(name).record is record],
                "family": record.family,
                "data_dependent": scheme(record.name).is_data_dependent,
                "parameters": [described(parameter) for parameter in record.parameters],
                "purpose": record.purpose,
                "source": record.source,
            }
            for record in INITIALIZERS.values()
        ],
        "activations": [
            {
                "name": record.name,
                "parameters": [described(parameter) for parameter in record.parameters],
                "formula": activation(record.name).formula,
                "purpose": record.purpose,
                "source": record.source,
                "gain": {
                    "forward": theory.gain(activation(record.name), "forward"),
                    "backward": theory.gain(activation(record.name), "backward"),
                },
                "torch_gain": theory.torch_gain(activation(record.name)),
            }
            for record in ACTIVATIONS.values()
        ],
        "datasets": [
            {
                "name": record.name,
                "description": record.description,
                "features": record.features,
                "classes": None if record.is_regression else record.outputs or None,
                "targets": record.outputs if record.is_regression else None,
                "source": record.source,
            }
            for record in DATASETS.values()
        ],
        "biases": [
            {
                "name": record.name,
                "parameters": [described(parameter) for parameter in record.parameters],
                "purpose": record.purpose,
                "source": record.source,
            }
            for record in BIASES.values()
        ],
        **{
            kind: [{"name": name, "purpose": one.purpose, "source": one.source} for name, one in records.items()]
            for kind, records in _PARTS.items()
        },
        "left_out": LEFT_OUT,
        "fields": [described(field) for field in fields_of(Spec)],
    }


def _explained(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Return numbers, with a reason for each that is not finite."""
    reasons = {
        name: "not defined, or known from the data only" if math.isnan(value) else "unbounded"
        for name, value in numbers.items()
        if not math.isfinite(value)
    }
    return {**numbers, **({"reasons": reasons} if reasons else {})}


def _distributions(spec: Spec, knobs: DistributionsKnobs, saved: _Saved) -> dict[str, Any]:
    shape = knobs.shape(spec)
    names = together(spec.initializer, knobs.initializers)
    network = knobs.network(spec)
    found, all_drawn = [], []
    for name in names:
        require_answer(name, shape)
        drawn = distributions.draw(name, shape, knobs.samples_each(len(names)), spec.seed, network)
        near = distributions.close_look(name, shape, spec.seed, network)
        all_drawn.append(drawn)
        found.append(
            {
                "name": drawn.initializer,
                "formula": drawn.formula.text,
                "asked": _explained(asdict(drawn.asked)),
                "drawn": _explained(asdict(drawn.drawn)),
                "samples": drawn.samples,
                "distinct_rows": drawn.distinct_rows,
                "atoms": [{"value": value, "asked": asked, "drawn": share} for value, asked, share in drawn.atoms],
                **_explained({"sigma_w_squared": drawn.sigma_w_squared}),
                "cost": near.cost,
                "singular_values": near.singular_values,
            }
        )
    standardized = knobs.unit == "deviations"
    saved.save(lambda: figures.histograms(all_drawn, LIGHT, view=knobs.view, standardized=standardized))
    return {"fan_in": shape.fan_in, "fan_out": shape.fan_out, "layer": shape.layer, "initializers": found}


def _translate(spec: Spec, knobs: DistributionsKnobs) -> dict[str, Any]:
    chosen = TRANSLATIONS[knobs.translate]
    return {**vars(chosen), **vars(explain(chosen, knobs.shape(spec)))}


def _courses(
    expected: theory.Prediction | str,
) -> tuple[Callable[[str, int], dict[str, Any]], Callable[[int], float | None], str | None]:
    """Return what theory says of a direction and layer, of the correlation in a layer, and why it says nothing."""
    if isinstance(expected, str):
        why = expected
        names = ("theory", "theory_median", "theory_low", "theory_high", "log10_theory", "log10_theory_median")
        return lambda direction, layer: {**dict.fromkeys(names), "theory_reason": why}, lambda layer: None, why

    def of(direction: str, layer: int) -> dict[str, Any]:
        course = {"forward": expected.forward, "backward": expected.backward}[direction]
        lines = {
            "theory": course.log10,
            "theory_median": course.median_log10,
            "theory_low": course.low_log10,
            "theory_high": course.high_log10,
        }
        values: dict[str, Any] = {name: signal.power(float(line[layer])) for name, line in lines.items()}
        values |= {f"log10_{name}": float(lines[name][layer]) for name in ("theory", "theory_median")}
        if not all(math.isfinite(value) for value in values.values()):
            is_nothing = values["log10_theory"] == -math.inf
            values["theory_reason"] = "every value is 0" if is_nothing else "beyond double precision"
        return values

    return of, lambda layer: float(expected.correlation[layer]), None


def _signal(spec: Spec, knobs: SignalKnobs, saved: _Saved) -> dict[str, Any]:
    found = signal.measure(spec, knobs.seeds)
    predicted = signal.predict_or_reason(found)
    expected, expected_correlation, no_theory = _courses(predicted)

    def moments(direction: str, log10: np.ndarray[Any, np.dtype[np.float64]], layer: int) -> dict[str, Any]:
        values = log10[:, layer]
        low, high = (float(value) for value in np.quantile(values, (0.1, 0.9), method="nearest"))
        with np.errstate(invalid="ignore"):  # some networks at nothing, some beyond all numbers
            middle = float(np.median(values))
        result: dict[str, Any] = {
            "measured": signal.power(middle),
            "low": signal.power(low),
            "high": signal.power(high),
            "log10_measured": middle,
            **expected(direction, layer),
        }
        if not math.isfinite(middle):
            result["reason"] = "every value is 0" if middle < 0 else "left the finite numbers"
        elif not all(0 < result[name] < math.inf for name in ("measured", "low", "high")):
            result["reason"] = "beyond double precision; the logarithm is right"
        return result

    def medians(layer: int) -> dict[str, Any]:
        names = ("pre_activation_mean", "activation_mean", "variance_over_units", "variance_over_samples")
        shares = ("dead_fraction", "saturated_fraction")
        with np.errstate(invalid="ignore"):  # of networks beyond all numbers, on either side
            values = {name: float(np.median(getattr(found, name)[:, layer])) for name in names + shares}
        correlation = float(np.median(found.correlation[:, layer]))
        apart = {"correlation": "one sample, or no values that are finite and not 0"} if math.isnan(correlation) else {}
        if not all(math.isfinite(value) for value in values.values()):
            values["reason"] = "beyond double precision"  # type: ignore[assignment]
        return {**values, "correlation": correlation, **({"reasons": apart} if apart else {})}

    layers = [
        {
            "layer": layer + 1,
            "forward": moments("forward", found.forward_log10, layer),
            "backward": moments("backward", found.backward_log10, layer),
            **medians(layer),
            "theory_correlation": expected_correlation(layer),
            **({"theory_reason": no_theory} if no_theory else {}),
            "distinct_rows": int(np.median(found.distinct_rows[:, layer])),
            "distinct_gradients": int(np.median(found.distinct_gradients[:, layer])),
            "float32_underflows": {
                "forward": float(found.forward_underflows[:, layer].mean()),
                "backward": float(found.backward_underflows[:, layer].mean()),
            },
        }
        for layer in range(spec.depth)
    ]
    rules = [_explained_rule(rule) for rule in signal.rules(found)]
    courses = {} if isinstance(predicted, str) else {spec.initializer: predicted}
    direction = "backward" if knobs.direction == "backward" else "forward"
    saved.save(lambda: signal_figures.moments([found], courses, LIGHT, direction=direction, overlay=knobs.overlay))
    return {
        "seeds": found.seeds,
        "samples": found.samples,
        "layers": layers,
        "verdict": signal.verdict(found),
        "rules": rules,
    }


def _explained_rule(rule: signal.Rule) -> dict[str, Any]:
    reason = {} if math.isfinite(rule.number) else {"reason": rule.sentence}
    return {"rule": rule.name, "is_kept": rule.is_kept, "number": rule.number, "sentence": rule.sentence, **reason}


def _theory(spec: Spec, knobs: _Theory) -> dict[str, Any]:
    found = theory.mean_field(activation(spec.activation), knobs.sigma_w, knobs.sigma_b)
    fixed = [
        {"q": p.q, "chi_1": p.chi_1, "chi_parallel": p.chi_parallel, "is_stable": p.is_stable}
        for p in found.fixed_points
    ]
    numbers = {
        field.name: getattr(found, field.name)
        for field in fields(found)
        if field.name not in ("fixed_points", "reasons")
    }
    reasons = {name: "infinite" for name, value in numbers.items() if isinstance(value, float) and math.isinf(value)}
    return {**numbers, "fixed_points": fixed, "reasons": {**reasons, **found.reasons}}


def _members(history: training.History) -> list[dict[str, Any]]:
    found = []
    for number, member in enumerate(history.members):
        final: dict[str, Any] = {
            "loss": history.final_loss[number],
            "train_accuracy": history.final_train_accuracy[number],
            "test_accuracy": history.final_test_accuracy[number],
        }
        left = history.diverged_at[number]
        if left is not None:
            final["reason"] = f"the loss left the finite numbers at step {left}"
        elif not math.isfinite(history.final_loss[number]):
            final["reason"] = "the loss on the whole training set is not finite"
        elif not np.isfinite(history.loss[number]).all():
            final["reason"] = "the loss was not finite at some of the recorded steps"
        found.append(
            {
                "initializer": member.initializer,
                "seed": member.seed,
                "learning_rate": member.learning_rate,
                "status": history.statuses[number],
                "diverged_at": left,
                "loss": history.loss[number],
                "train_accuracy": history.train_accuracy[number],
                "test_accuracy": history.test_accuracy[number],
                "final": final,
            }
        )
    return found


def _finish(run: training.Training) -> training.History:
    """Train to the end, with progress on standard error."""
    end = "\r" if sys.stderr.isatty() else "\n"
    shown = -10
    for _ in run:
        percent = int(100 * run.progress)
        if percent >= shown + 10 or run.is_finished:
            shown = percent
            print(f"{len(run.members)} networks, step {run.step} of {run.spec.steps}", end=end, file=sys.stderr)
    return run.history()


def _train(spec: Spec, knobs: TrainKnobs, recording: _Recording) -> dict[str, Any]:
    names = together(spec.initializer, knobs.beside)
    members = [Member(name, seed, spec.learning_rate) for name in names for seed in seeds_of(spec, knobs.seeds)]
    spec.require_start(names)
    history = _finish(training.Training(spec, members, every=recording.every))
    return {"steps": history.steps, "constant_loss": history.constant_loss, "members": _members(history)}


def _compare(spec: Spec, knobs: CompareKnobs, recording: _Recording, saved: _Saved) -> dict[str, Any]:
    found = _swept(crewed(spec, knobs, every=recording.every, store=store.of_host())).conclude()
    history = found.history
    names = together(spec.initializer, knobs.initializers)
    groups = [rank.runs for rank in found.ranking]
    saved.save(
        lambda: comparison_figures.curves(
            Curves.of(history), knobs, names, history.constant_loss, LIGHT, found.measure, groups=groups
        )
    )
    areas, steps = comparison.loss_areas(history), comparison.steps_to(history, found.target_loss)
    ranking = [
        {
            "initializer": rank.initializer,
            "learning_rates": rank.learning_rates,
            "score": {
                **asdict(rank.score),
                **({"reason": rank.score.note} if rank.score.note else {}),
            },
            **rank.counts,
            "divergences": rank.divergences,
            "reached": rank.reached,
            **_explained_by(
                final_loss=(rank.final_loss, "most runs left the finite numbers"),
                loss_area=(rank.loss_area, "most runs left the finite numbers"),
                steps_to_target=(rank.steps_to_target, "most runs never reach the target loss"),
            ),
        }
        for rank in found.ranking
    ]
    members = [
        {
            **member,
            **_explained_by(
                loss_area=(areas[number], "the loss left the finite numbers"),
                steps_to_target=(steps[number], "the run never reaches the target loss"),
            ),
        }
        for number, member in enumerate(_members(history))
    ]
    pairs = [
        {
            **asdict(pair),
            "told_apart": pair.is_told_apart,
            **_explained_by(
                needed=(pair.needed or math.inf, "the share of wins is one half: no number of seeds would"),
            ),
            **({"reason": f"no interval below {comparison.INTERVAL_SEEDS} seeds"} if pair.low is None else {}),
        }
        for pair in found.pairs
    ]
    return {
        "finding": comparison.finding(found),
        "steps": history.steps,
        "constant_loss": history.constant_loss,
        "chance": history.chance,
        "target_loss": found.target_loss,
        "members": members,
        "ranking": ranking,
        "pairs": pairs,
    }


def _explained_by(**numbers: tuple[float, str]) -> dict[str, Any]:
    """Return numbers, with the reason given for each that is not finite."""
    reasons = {name: reason for name, (value, reason) in numbers.items() if not math.isfinite(value)}
    return {name: value for name, (value, _) in numbers.items()} | ({"reasons": reasons} if reasons else {})


_BAR = 24  # characters of the bar


def _swept(sweep: Sweep) -> Sweep:
    """Train a sweep to its end, with its price and a bar on standard error; interrupted, say how to go on."""
    price, is_terminal, shown = budget.comparison_price(sweep.spec, sweep.knobs), sys.stderr.isatty(), -1
    print(f"{len(sweep.members)} runs, {price.multiply_adds:.2g} multiply-adds, {price.sentence}", file=sys.stderr)
    try:
        for progress in sweep:
            tenths = int(10 * progress.share)
            if is_terminal:
                filled = int(_BAR * progress.share)
                bar = f"[{'#' * filled}{'.' * (_BAR - filled)}]"
                print(f"\r{bar} {progress.sentence}\033[K", end="", file=sys.stderr, flush=True)
            elif tenths > shown:
                shown = tenths
                print(progress.sentence, file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print(f"\nstopped: {sweep.progress.sentence}. The same command goes on from there.", file=sys.stderr)
        raise SystemExit(130) from None
    if is_terminal or shown < 10:  # 10 tenths have been said
        print(f"{chr(10) if is_terminal else ''}{sweep.progress.sentence}", file=sys.stderr)
    return sweep


def _code(spec: Spec, chosen: _Code) -> dict[str, Any]:
    shape = DistributionsKnobs().shape(spec)
    require_answer(spec.initializer, shape)
    return {
        "framework": chosen.framework,
        "code": export.snippet(spec.initializer, chosen.framework, shape, spec.seed, spec.bias),
    }


def _link(spec: Spec, knobs: Declared) -> dict[str, Any]:
    return {"query": urlencode(permalink.write(spec, knobs))}


COMMANDS: Mapping[str, Command] = {
    "catalogue": Command("the initializers, activations, data sets and fields", (_Catalogue,), lambda _: _catalogue()),
    "distributions": Command("what initializers draw", (Spec, DistributionsKnobs, _Saved), _distributions),
    "signal": Command("how large activations and gradients are, by layer", (Spec, SignalKnobs, _Saved), _signal),
    "theory": Command("what endless depth does, by mean-field theory", (Spec, _Theory), _theory),
    "train": Command("a network learning, step by step", (Spec, TrainKnobs, _Recording), _train),
    "compare": Command("several initializers against each other", (Spec, CompareKnobs, _Recording, _Saved), _compare),
    "translate": Command("which law a framework really draws", (Spec, DistributionsKnobs), _translate),
    "code": Command("one layer, written for a framework", (Spec, _Code), _code),
}


def _plain(value: Any) -> Any:
    """Return a value made of JSON's types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _usage(command: str, owners: Sequence[type[Declared]]) -> str:
    """Return the help of a lens, from the declarations of its fields."""
    parser = argparse.ArgumentParser(prog=f"python -m winit {command}", add_help=False)
    for field in (field for owner in owners for field in fields_of(owner)):
        default = "none" if field.default is None else field.write(field.default) or "none"
        text = f"{field.help} {field.kind.allowed}; default {default}".replace("%", "%%")
        parser.add_argument(_flag(field.name), metavar="VALUE", help=text)
    return parser.format_help()


def _read(owners: Sequence[type[Declared]], arguments: Sequence[str]) -> list[Declared]:
    """Return one instance of each owner from `--field value` pairs. Raises `BadInput`.

    Read here rather than by argparse, which takes a value such as -inf for a flag.
    """
    fields = {field.name: field for owner in owners for field in fields_of(owner)}
    flags = {_flag(name): name for name in fields}
    given: dict[str, list[str]] = {}
    rest = iter(arguments)
    for argument in rest:
        flag, tied, text = argument.partition("=")
        if flag not in flags:
            raise BadInput("flag", flag, f"one of {' '.join(flags)}{nearest(flag, tuple(flags))}")
        value = text if tied else next(rest, None)
        if value is None:
            raise BadInput(flags[flag], "", fields[flags[flag]].kind.allowed)
        given.setdefault(flags[flag], []).append(value)

    # The network's initializer is the first of a list where a lens draws or compares several.
    if "initializers" in fields:
        listed = [text for texts in given.pop("initializers", []) for text in texts.split(";")]
        names = given.pop("initializer", []) + listed
        if names:
            given["initializer"], given["initializers"] = names[:1], names[1:]
    values: dict[str, Any] = {}
    for name, texts in given.items():
        field = fields[name]
        if isinstance(field.kind, Several):
            values[name] = field.read(";".join(texts))
        elif len(texts) > 1:
            raise BadInput(name, " and ".join(texts), "it once")
        else:
            values[name] = field.read(texts[0])
    return [owner(**{f.name: values[f.name] for f in fields_of(owner) if f.name in values}) for owner in owners]


class _Help(Exception):
    """Raised with the help text when it was asked for."""


def run(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the result of a command line. Raises `BadInput`."""
    known = [*COMMANDS, "link"]
    if not arguments or arguments[0] not in known:
        raise BadInput("lens", arguments[0] if arguments else "", "one of " + ", ".join(known))
    name, rest = arguments[0], list(arguments[1:])
    if name == "link":
        slugs = {slug or "home": lens for slug, lens in LENSES.items()}
        if not rest or rest[0] not in slugs:
            raise BadInput("page", rest[0] if rest else "", "one of " + ", ".join(slugs))
        command = Command("", (Spec, slugs[rest[0]].knobs), _link)
        name, rest = f"link {rest[0]}", rest[1:]
    else:
        command = COMMANDS[name]
    if {"-h", "--help"} & set(rest):
        raise _Help(_usage(name, command.owners))
    values = _read(command.owners, rest)
    result: dict[str, Any] = {"version": __version__}
    if isinstance(values[0], Spec):
        result["spec"] = values[0].values()
    return result | command.run(*values)


def main(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m winit LENS [--field value ...]; python -m winit LENS --help lists the fields\n")
        for name, command in COMMANDS.items():
            print(f"  {name:14} {command.summary}")
        print(f"  {'link':14} the query of a page's address: link PAGE [--field value ...]")
        return 0 if arguments else 2
    try:
        result = run(arguments)
    except BadInput as problem:
        print(problem, file=sys.stderr)
        return 2
    except _Help as help_text:
        print(help_text)
        return 0
    print(json.dumps(_plain(result), allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
