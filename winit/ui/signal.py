"""The parts of Signal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any

import numpy as np
import streamlit as st

from winit import budget, neurons, permalink, signal, spectrum, theory
from winit.activations import activation
from winit.fields import BadInput, Refused
from winit.figures import signal as figures
from winit.figures import style
from winit.figures.palette import TOKENS, coloured
from winit.figures.style import number_of_log10, short_name
from winit.initializers import INITIALIZERS
from winit.lenses import SignalKnobs, together
from winit.signal import Signal
from winit.spec import Spec
from winit.theory import Prediction
from winit.ui import address, answers, cached, frame
from winit.ui.cached import Study

Page = frame.Page[SignalKnobs]

_IRRELEVANT = ("optimizer", "learning_rate", "schedule", "weight_decay", "clip", "steps")


def _base(spec: Spec) -> Spec:
    """Return the network with the fields that do not matter at initialization at their defaults."""
    return Spec(**{name: value for name, value in spec.values().items() if name not in _IRRELEVANT})


def study(page: Page) -> list[Study]:
    """Measure the network's initializer and those beside it; empty where refused, which the page then says."""
    try:
        page.spec.require_start((page.spec.initializer,))
        page.spec.require_batch(page.spec.batch_size)
    except BadInput as problem:
        show_knobs(page)
        page.refuse_start(problem)
        return []
    names = []
    for name in together(page.spec.initializer, page.knobs.initializers):
        try:
            page.spec.require_start((name,))
        except BadInput as problem:
            page.note(problem)
        else:
            names.append(name)
    base = _base(page.spec)
    seeds, batch = page.knobs.seeds, base.batch_size
    price = budget.Price.of_all([budget.signal_price(base.replace(initializer=name), seeds, batch) for name in names])
    try:
        budget.Limit.of_host().require(price, "fewer seeds, layers, units, samples or initializers")
    except BadInput as problem:
        show_knobs(page)
        less = {"depth": 10, "width": 64, "batch_size": 64, "seeds": 8}
        page.refuse(problem, [("Use 10 layers of 64 units, 8 seeds, batches of 64", less)])
        return []
    return cached.studies([base.replace(initializer=name) for name in names], page.knobs.seeds)


def _signals(studied: Sequence[Study]) -> list[Signal]:
    return [found for found, _ in studied]


def _expected(studied: Sequence[Study]) -> dict[str, Prediction]:
    return {found.spec.initializer: said for found, said in studied if not isinstance(said, str)}


def show_answer(page: Page, studied: Sequence[Study]) -> None:
    """Say what the numbers say."""
    page.answer(answers.signal(_signals(studied)))


def show_knobs(page: Page) -> None:
    """Draw the lens's knobs in one row."""
    page.knob_row(
        "initializers",
        "seeds",
        "direction",
        "overlay",
        initializers={"width": 250},
        seeds={"width": 110},
    )


def show_moments(page: Page, studied: Sequence[Study]) -> None:
    """Show the second moments against the layer, measured against theory."""
    signals, expected = _signals(studied), _expected(studied)
    directions = ("forward", "backward") if page.knobs.direction == "both" else (page.knobs.direction,)
    for column, direction in zip(st.columns(len(directions)), directions, strict=True):
        with column:
            chart = figures.moments(
                signals, expected, TOKENS, direction=direction, overlay=page.knobs.overlay, meta=page.meta
            )
            names = ", ".join(one.spec.initializer for one in signals)
            page.figure(chart, f"Second moment by layer, {direction}: {names}", direction)
    first = signals[0]
    seeds = "1 seed" if len(first.seeds) == 1 else f"median of {len(first.seeds)} seeds, bars: 80 in 100 of them"
    lines = ""
    if expected and "theory" in page.knobs.overlay:
        band = ", band: 80 in 100 networks of this width" if "band" in page.knobs.overlay else ""
        lines = (
            f" Lines: mean-field theory, thick the typical network{band}, dotted infinite width;"
            " gradients start from the measured last layer."
        )
    st.caption(f"Points: {seeds}, {first.samples} inputs of {first.spec.dataset}.{lines}{_lost(signals)}")
    for found, said in studied:
        if isinstance(said, str):
            name = coloured(found.spec.initializer)
            st.caption(f"No theory line for {name}: {frame.literal(said)}.")


def _lost(signals: Sequence[Signal]) -> str:
    """Return what float32 would lose, and what is 0 or beyond all numbers, as sentences."""
    said = []
    for one in signals:
        name = frame.literal(one.spec.initializer)
        for masks, what in (
            (one.forward_underflows, "pre-activations underflow in float32"),
            (one.backward_underflows, "gradients underflow in float32"),
            (one.overflows, "numbers overflow float32"),
            (one.forward_log10 == -np.inf, "pre-activations are all 0"),
            (one.backward_log10 == -np.inf, "gradients are all 0"),
        ):
            layers = np.flatnonzero(np.median(masks, axis=0) >= 0.5) + 1
            if len(layers):
                where = f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"
                said.append(f" {name}: {what} in {where}.")
    return "".join(said)


def show_rules(studied: Sequence[Study]) -> None:
    """Show the two rules of a good start, and which of the initializers keep them, each with its number."""
    verdicts = [(found.spec.initializer, signal.rules(found)) for found, _ in studied]
    with st.grid(2, min_column_width=300):
        for rule in range(2):
            with st.container(border=True, height="stretch"):
                st.markdown(f"**{verdicts[0][1][rule].name}**")
                for name, both in verdicts:
                    kept = both[rule]
                    icon, word = (":material/check:", "kept") if kept.is_kept else (":material/close:", "broken")
                    st.markdown(f"{icon} {coloured(name)}: **{word}.** {frame.literal(kept.sentence)}")


@st.fragment(parallel=True)
def show_layers(page: Page, studied: Sequence[Study]) -> None:
    """Show activations and gradients by layer, then dead and saturated units and the correlation."""
    st.subheader("Inside the layers", anchor=False)
    signals, expected = _signals(studied), _expected(studied)
    with st.grid(2 if len(signals) < 3 else 3, min_column_width=240):
        for place, one in enumerate(signals):
            name = one.spec.initializer
            with st.container(gap="xxsmall"):
                st.markdown(coloured(name, short_name(name)))
                for kind, found in (("activation", one.activation_histogram), ("gradient", one.gradient_histogram)):
                    chart = figures.histogram(found, TOKENS, is_log=kind == "gradient", meta=page.meta)
                    page.figure(chart, f"Histogram of {kind}s by layer, {name}", f"{kind}-{place}")
    beyond = [one.spec.initializer for one in signals if one.activation_histogram.beyond.max() > 0.02]
    leaves = f" Beyond the axis: {frame.literal(', '.join(beyond))}." if beyond else ""
    st.caption(
        "Each column is a layer: the darker, the more values. Activations on one linear axis, twice the reach of "
        f"layer 1; gradients by their size.{leaves}"
    )
    with st.grid(3, min_column_width=240):
        for quantity in ("dead_fraction", "saturated_fraction"):
            chart = figures.shares(signals, TOKENS, quantity=quantity, meta=page.meta)
            page.figure(chart, f"{quantity.replace('_', ' ')} by layer", quantity)
        ends = _correlation_ends(signals)
        chart = figures.correlations(signals, expected, ends, TOKENS, meta=page.meta)
        page.figure(chart, "Correlation of two inputs by layer, with theory", "correlation")
    without = [one.spec.initializer for one in signals if not np.isfinite(np.median(one.correlation, axis=0)).any()]
    lack = f" Without a correlation: {frame.literal(', '.join(without))}." if without else ""
    st.caption(
        "Dead: units whose derivative is 0 for every input. Saturated: a slope below a twentieth of the steepest. "
        "Correlation: mean cosine of the pre-activations of two inputs; dotted: theory; c*: where endless depth "
        f"ends.{lack}"
    )


def _correlation_ends(signals: Sequence[Signal]) -> dict[str, float]:
    """Return c* by initializer, where plain layers have one."""
    found = {}
    for one in signals:
        if one.spec.normalization != "none" or one.spec.residual != "off":
            continue
        try:
            end = theory.mean_field(activation(one.spec.activation), *signal.place(one.spec)).c_star
        except Refused:
            continue
        if math.isfinite(end):
            found[one.spec.initializer] = end
    return found


_MOST_ROWS = 128


@st.fragment(parallel=True)
def show_neurons(page: Page, studied: Sequence[Study]) -> None:
    """Show neurons that are copies of each other, where there are some: rows, gradients and how many differ."""
    alike = [(one, _most_alike(one)) for one in _signals(studied)]
    alike = [(one, layer) for one, layer in alike if layer is not None]
    if not alike:
        return
    st.subheader("Neurons that are copies of each other", anchor=False)
    for place, (one, layer) in enumerate(alike):
        assert layer is not None
        name, units = one.spec.initializer, one.spec.widths[layer - 1]
        rows, gradients = (int(np.median(each[:, layer - 1])) for each in (one.distinct_rows, one.distinct_gradients))
        st.markdown(
            f"{coloured(name)}, layer {layer}: **{units} neurons, {rows} distinct**; their gradients: {gradients} "
            "distinct. Equal neurons with equal gradients stay equal, however long they learn."
        )
        seen = neurons.side_by_side(one.spec, layer)
        with st.grid(2, min_column_width=240):
            for kind, values in (("weights", seen.weights), ("gradients", seen.gradients)):
                chart = figures.rows(values[:_MOST_ROWS, :_MOST_ROWS], TOKENS, quantity=kind.title(), meta=page.meta)
                alt = f"{kind} of {units} neurons of {name}, {rows} of them distinct"
                page.figure(chart, alt, f"neurons-{kind}-{place}")


def _most_alike(one: Signal) -> int | None:
    """Return the hidden layer (1 to depth) in which most units are copies; None where all differ."""
    copies = np.array(one.spec.widths) - np.median(one.distinct_rows, axis=0)
    # The second layer on: of the first, inputs that are always 0 say little.
    return int(np.argmax(copies)) + 1 if copies.max() > 0 else None


_SIGMA_W, _SIGMA_B = np.linspace(0, 3, 61), np.linspace(0, 1.5, 61)


@lru_cache(maxsize=64)
def _diagram(phi: str) -> theory.PhaseDiagram:
    return theory.phase_diagram(activation(phi), _SIGMA_W, _SIGMA_B)


def _place(spec: Spec) -> tuple[float, float] | str:
    """Return sigma_w and sigma_b of a network, or the reason why it has none."""
    try:
        return signal.place(spec)
    except Refused as refusal:
        return f"theory needs {refusal}"
    except OverflowError:
        return "its weights are beyond all numbers"


def _set(page: Page, sigma_w: float, sigma_b: float) -> None:
    """Set the network's initializer and biases to those of a point of the diagram, from a callback."""
    fan_in = page.spec.layer_shapes()[-2].fan_in
    stddev = float(f"{sigma_w / math.sqrt(fan_in):.6g}")
    address.change(
        page.lens,
        initializer=f"random_normal(stddev={stddev:g})",
        bias=f"normal(stddev={float(f'{sigma_b:.6g}'):g})" if sigma_b else "zeros",
    )
    st.session_state["_placed"] = st.session_state.get("_placed", 0) + 1


@st.fragment(parallel=True)
def show_phase_diagram(page: Page) -> None:
    """Show the phase diagram; a point that is selected, or two numbers, set the network's weights and biases."""
    address.heed_widgets()
    st.subheader("Where it lies: order, chaos and the edge between", anchor=False)
    spec = _base(page.spec)
    mine = _place(spec)
    own = None if isinstance(mine, str) else mine
    places = {}
    for name in INITIALIZERS:
        at = _place(spec.replace(initializer=name))
        if not isinstance(at, str):
            places[name] = at
    key = f"phase-{st.session_state.get('_placed', 0)}"

    def selected() -> None:
        points = st.session_state[key].selection.points
        if points:
            address.touched()
            _set(page, max(0.0, float(points[0]["y"])), max(0.0, float(points[0]["x"])))

    def typed() -> None:
        sigma_w, sigma_b = st.session_state["phase:sigma_w"], st.session_state["phase:sigma_b"]
        if sigma_w is not None:
            address.touched()
            _set(page, sigma_w, sigma_b or 0.0)

    with st.container(horizontal=True, vertical_alignment="bottom"):
        for field, value in (("sigma_w", 0), ("sigma_b", 1)):
            held = None if own is None or own[value] > 100 else float(f"{own[value]:.4g}")
            entry = f"phase:{field}"
            address.put(entry, held)
            st.number_input(
                "σ_w of the weights" if value == 0 else "σ_b of the biases",
                min_value=0.0,
                max_value=100.0,
                step=0.05,
                format="%g",
                value=held,
                key=entry,
                on_change=typed,
                width=150,
            )
    diagram = _diagram(page.spec.activation)
    chart = figures.phase(diagram, places, own, TOKENS, meta=page.meta)
    st.plotly_chart(
        chart,
        key=key,
        on_select=selected,
        selection_mode="points",
        config=style.config("phase"),
        alt=f"Phase diagram of {page.spec.activation} with {len(places)} initializers",
    )
    yours = f"Ring: yours, in the last hidden layer ({frame.literal(page.spec.initializer)})."
    if isinstance(mine, str):
        yours = f"Yours has no place here: {frame.literal(mine)}."
    elif mine[0] > _SIGMA_W[-1] or mine[1] > _SIGMA_B[-1]:
        yours = f"Yours lies outside: σ_w {style.number(mine[0])}, σ_b {style.number(mine[1])}."
    missing = [name for name in INITIALIZERS if name not in places]
    far = [name for name, at in places.items() if at[0] > _SIGMA_W[-1] or at[1] > _SIGMA_B[-1]]
    edge = "" if len(diagram.edge.sigma_b) else f" {page.spec.activation} has no edge of chaos."
    out = f" Outside: {frame.literal(', '.join(far))}." if far else ""
    left = f" Without a place: {frame.literal(', '.join(missing))}." if missing else ""
    st.caption(
        f"{yours} Line, or diamond where it is a point: the edge of "
        "chaos, where gradients keep their size. Dashed: depth scales ξ, the layers in "
        f"which gradients change by e.{edge} Plain layers, infinite width.{out}{left} Select a point to set it."
    )


def show_spectrum(page: Page) -> None:
    """Offer the singular values of layers and of the Jacobian; computed only while open."""
    label = "Singular values: of the layers, and of outputs by inputs"
    frame.fold(label, ":material/graphic_eq:", "spectrum", lambda: _spectrum(page))


@st.fragment(parallel=True)
def _spectrum(page: Page) -> None:
    spec = _base(page.spec)
    layers, passes = cached.spectra(spec)
    with st.grid(2, min_column_width=240):
        page.figure(
            figures.layer_spectra(layers, TOKENS, meta=page.meta), "Singular values of hidden layers", "layer-spectra"
        )
        if not isinstance(passes, str):
            page.figure(figures.jacobian(passes, TOKENS, meta=page.meta), "Singular values of the Jacobian", "jacobian")
    said = f"The Jacobian is left out: {frame.literal(passes)}." if isinstance(passes, str) else _jacobian_words(passes)
    st.caption(
        f"{frame.literal(spec.initializer)}, seed {spec.seed}. Dotted: the Marchenko-Pastur law of independent "
        f"weights, or the one value of orthogonal ones. {said}"
    )


def _jacobian_words(found: spectrum.Jacobian) -> str:
    measured = float(np.median(found.mean_square_log10))
    text = f"Jacobian: mean square {number_of_log10(measured)}"
    if math.isfinite(found.expected_mean_square_log10):
        text += f" measured, {number_of_log10(found.expected_mean_square_log10)} expected"
    else:
        text += f"; {frame.literal(found.reasons.get('expected_mean_square_log10', 'none expected'))}"
    variance = float(np.median(found.relative_variance))
    if math.isfinite(variance):
        text += f"; relative variance {style.number(variance)}"
        if math.isfinite(found.expected_relative_variance):
            text += f", {style.number(found.expected_relative_variance)} expected"
    condition = float(np.median(found.condition))
    return text + (f"; condition number {style.number(condition)}." if not math.isnan(condition) else ".")


def _rows(studied: Sequence[Study]) -> list[dict[str, Any]]:
    """Return the numbers of every initializer and layer, medians over seeds."""
    rows = []
    with np.errstate(invalid="ignore"):  # of networks beyond all numbers
        for found, said in studied:
            for layer in range(found.spec.depth):
                row: dict[str, Any] = {"initializer": found.spec.initializer, "layer": layer + 1}
                for direction in ("forward", "backward"):
                    values = getattr(found, f"{direction}_log10")[:, layer]
                    low, high = np.quantile(values, (0.1, 0.9), method="nearest")
                    row[f"{direction}_log10"] = float(np.median(values))
                    row[f"{direction}_log10_low"], row[f"{direction}_log10_high"] = float(low), float(high)
                    course = None if isinstance(said, str) else getattr(said, direction)
                    row[f"{direction}_log10_theory"] = float(course.log10[layer]) if course else math.nan
                    row[f"{direction}_log10_theory_median"] = float(course.median_log10[layer]) if course else math.nan
                for name in (
                    "weight_gradient_log10",
                    "activation_mean",
                    "variance_over_units",
                    "variance_over_samples",
                    "correlation",
                    "dead_fraction",
                    "saturated_fraction",
                    "distinct_rows",
                    "distinct_gradients",
                ):
                    row[name] = float(np.median(getattr(found, name)[:, layer]))
                rows.append(row)
    return rows


_COLUMNS = {
    "forward_log10": "E z²",
    "forward_log10_theory_median": "theory",
    "backward_log10": "E (∂L/∂z)²",
    "backward_log10_theory_median": "theory of it",
    "weight_gradient_log10": "E (∂L/∂w)²",
    "activation_mean": "mean a",
    "variance_over_units": "Var over units",
    "variance_over_samples": "Var over inputs",
    "correlation": "correlation",
    "dead_fraction": "dead",
    "saturated_fraction": "saturated",
    "distinct_rows": "distinct",
}


def show_numbers(page: Page, studied: Sequence[Study]) -> None:
    """Offer every number by layer, in a table and as files; written only while open."""
    frame.fold("Numbers by layer and downloads", ":material/table_rows:", "numbers", lambda: _numbers(page, studied))


def _numbers(page: Page, studied: Sequence[Study]) -> None:
    rows = _rows(studied)
    table = [
        {"initializer": row["initializer"], "layer": row["layer"]}
        | {title: _cell(name, row[name]) for name, title in _COLUMNS.items()}
        for row in rows
    ]
    config: dict[str, Any] = {title: st.column_config.TextColumn(alignment="right") for title in _COLUMNS.values()}
    config["initializer"] = st.column_config.TextColumn(pinned=True)
    st.dataframe(table, hide_index=True, column_config=config, key="layers", alt="Numbers by layer")
    first = _signals(studied)[0]
    verdicts = [{"initializer": found.spec.initializer, **asdict(rule)} for found, _ in studied
                for rule in signal.rules(found)]  # fmt: skip

    def as_csv() -> str:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return buffer.getvalue()

    def as_json() -> str:
        whole = {
            "spec": page.spec.values(),
            "seeds": first.seeds,
            "samples": first.samples,
            "rules": [_finite(verdict) for verdict in verdicts],
            "layers": [_finite(row) for row in rows],
        }
        return json.dumps(whole, indent=2, allow_nan=False)

    spec = json.dumps(permalink.write(page.spec, page.knobs, full=True), indent=2)
    with st.container(horizontal=True):
        frame.download("Numbers as CSV", as_csv, "winit-signal.csv", "text/csv", key="signal-csv")
        frame.download("Numbers as JSON", as_json, "winit-signal.json", "application/json", key="signal-json")
        frame.download("Spec as JSON", lambda: spec, "winit-spec.json", "application/json", key="spec-json")
    st.caption("Medians over seeds. Files hold base-10 logarithms, right beyond double precision.")


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row in which numbers that are not finite are None, as JSON has no others."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


def _cell(name: str, value: float) -> str:
    if "log10" in name:
        return "0" if value == -math.inf else "∞" if value == math.inf else "–" if math.isnan(value) else (
            number_of_log10(value))  # fmt: skip
    return "–" if math.isnan(value) else style.number(value)
