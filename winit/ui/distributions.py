"""The parts of Distributions."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import streamlit as st

from winit import budget, distributions, export, permalink, theory
from winit.activations import ACTIVATIONS, activation
from winit.distributions import CloseLook, Drawn, Moments
from winit.fields import BadInput
from winit.figures import distributions as figures
from winit.figures.palette import TOKENS, coloured
from winit.figures.style import short_name
from winit.initializers import INITIALIZERS, require_answer, scheme
from winit.lenses import DistributionsKnobs, together
from winit.translator import TRANSLATIONS, explain
from winit.ui import answers, cached, frame

Page = frame.Page[DistributionsKnobs]


def draw(page: Page) -> list[Drawn]:
    """Draw the network's initializer and those beside it; say of each that has no answer here why."""
    shape, network, limit = page.knobs.shape(page.spec), page.knobs.network(page.spec), budget.Limit.of_host()
    names = []
    for name in together(page.spec.initializer, page.knobs.initializers):
        try:
            require_answer(name, shape)
            most = budget.draw_price(name, shape, page.knobs.samples_each(1), network)
            price = budget.Price.of_all([most, budget.look_price(name, shape, network)])
            nearer = ", or a layer nearer to the inputs" if scheme(name).is_data_dependent else ""
            limit.require(price, f"for {name} fewer units{nearer}")
        except BadInput as problem:
            page.note(problem)
        else:
            names.append(name)
    samples = page.knobs.samples_each(max(1, len(names)))
    return cached.drawn(names, shape, samples, page.spec.seed, network)


def show_answer(page: Page, drawn: Sequence[Drawn]) -> None:
    """Say what the numbers say."""
    page.answer(answers.distributions(drawn) if drawn else "None of the initializers has an answer for this layer.")


def show_knobs(page: Page) -> None:
    """Draw the lens's knobs; empty fans follow the chosen layer."""
    shape = page.knobs.shape(page.spec)
    page.knob_row(
        "initializers",
        "layer",
        "fan_in",
        "fan_out",
        "view",
        "unit",
        initializers={"width": 208},
        layer={"width": 84},
        fan_in={"width": 78, "placeholder": str(shape.fan_in)},
        fan_out={"width": 78, "placeholder": str(shape.fan_out)},
        unit={"format_func": {"weight": "weight", "deviations": "in sd"}.__getitem__},
    )


def show_figures(page: Page, drawn: Sequence[Drawn]) -> None:
    """Show the drawn weights under their exact law; the close look follows beside and below."""
    if not drawn:
        return
    shape = drawn[0].shape
    wide, narrow = st.columns((3, 2))
    with wide:
        page.figure(
            figures.histograms(
                drawn,
                TOKENS,
                view=page.knobs.view,
                standardized=page.knobs.unit == "deviations",
                meta=page.meta,
            ),
            "Drawn weights under the exact law of " + ", ".join(one.initializer for one in drawn),
            "histograms",
            image=page.knobs.image,
        )
    with narrow:
        _spectrum(page, drawn)
    layers = "one layer" if drawn[0].layers == 1 else f"{drawn[0].layers:,} layers"
    place = "the output layer" if shape.is_output else f"layer {shape.layer} of {shape.depth}"
    free = "" if page.knobs.network(page.spec) else ", of no layer of your network"
    st.caption(
        f"fan_in {shape.fan_in}, fan_out {shape.fan_out} ({place}{free}): {drawn[0].samples:,} weights from {layers}"
        f" of each, seed {page.spec.seed}. Filled: drawn. Line: exact. Singular values: of the first layer drawn;"
        " dotted: what the Marchenko-Pastur law expects of independent weights."
    )


def _look(page: Page, drawn: Sequence[Drawn]) -> list[CloseLook]:
    names, network = [one.initializer for one in drawn], page.knobs.network(page.spec)
    return cached.close_looks(names, drawn[0].shape, page.spec.seed, network)


@st.fragment(parallel=True)
def _spectrum(page: Page, drawn: Sequence[Drawn]) -> None:
    """Show the singular values, which take longer than the histogram and hold nobody up."""
    looked = _look(page, drawn)
    expected = {
        one.initializer: distributions.marchenko_pastur(
            one.shape, one.asked.standard_deviation, len(near.singular_values)
        )
        for one, near in zip(drawn, looked, strict=True)
        if scheme(one.initializer).is_independent(one.shape) and one.asked.standard_deviation > 0
    }
    page.figure(
        figures.singular_values(looked, expected, TOKENS, meta=page.meta),
        "Singular values of one weight matrix of each initializer, largest first",
        "singular-values",
        image=page.knobs.image,
    )


_IMAGES_IN_ROW = 4


@st.fragment(parallel=True)
def show_close_look(page: Page, drawn: Sequence[Drawn]) -> None:
    """Show each weight matrix as an image, and the table of asked and drawn with what drawing costs."""
    if not drawn:
        return
    looked = _look(page, drawn)
    with st.grid(_IMAGES_IN_ROW, min_column_width=150):
        for place, near in enumerate(looked):
            with st.container(gap="xxsmall"):
                st.markdown(coloured(near.initializer, short_name(near.initializer)))
                page.figure(
                    figures.matrix(near, TOKENS, meta=page.meta),
                    f"The weight matrix of {near.initializer} as an image: {_image_words(near)}",
                    f"matrix-{place}",
                    image=page.knobs.image,
                )
    rows, columns = looked[0].block
    blocks = "" if (rows, columns) == (1, 1) else f" Each point is the largest weight of a block of {rows} x {columns}."
    st.caption(
        "The first layer drawn: a row is a unit, a column one of its inputs; teal below 0, ochre above, the page's"
        f" colour at 0, each to its own largest weight.{blocks}"
    )
    _table(drawn, looked)


def _image_words(near: CloseLook) -> str:
    return "all of one value" if float(np.ptp(near.image)) == 0 else f"{np.mean(near.image == 0):.0%} of it 0"


def _table(drawn: Sequence[Drawn], looked: Sequence[CloseLook]) -> None:
    """Show the moments, a row for asked and one for drawn."""
    rows = []
    for one, near in zip(drawn, looked, strict=True):
        for kind, moments in (("asked", one.asked), ("drawn", one.drawn)):
            variance = moments.standard_deviation**2
            cells: dict[str, Callable[[Moments], float]] = {
                "mean": lambda m: m.mean,
                "sd": lambda m: m.standard_deviation,
                "min": lambda m: m.minimum,
                "max": lambda m: m.maximum,
                "kurtosis": lambda m: m.kurtosis,
            }
            rows.append(
                {"initializer": one.initializer, "": kind}
                | {name: _cell(read(moments)) for name, read in cells.items()}
                | {
                    "fan_in Var": _cell(one.shape.fan_in * variance),
                    "fan_out Var": _cell(one.shape.fan_out * variance),
                    "zeros": f"{moments.zero_fraction:.4g}",
                    "distinct": f"{one.distinct_rows} of {one.shape.fan_out}" if kind == "drawn" else "",
                    "time": f"{near.cost:.2g} x" if kind == "drawn" else "",
                }
            )
    config = {name: st.column_config.TextColumn(alignment="right", help=_COLUMNS.get(name)) for name in rows[0]}
    config["initializer"] = st.column_config.TextColumn(pinned=True)
    config[""] = st.column_config.TextColumn()
    st.dataframe(rows, hide_index=True, column_config=config, key="moments", alt="Moments asked and drawn")


_COLUMNS = {
    "sd": "Standard deviation.",
    "kurtosis": "Fourth central moment over the squared variance: 3 for a normal.",
    "fan_in Var": "σ_w², what the forward signal is multiplied by.",
    "fan_out Var": "What the gradients are multiplied by.",
    "zeros": "Share of weights that are exactly 0.",
    "distinct": "Neurons of the first layer drawn that differ from all others.",
    "time": "Time to draw such a layer, relative to a normal.",
}


def _cell(value: float) -> str:
    if math.isfinite(value):
        return f"{value:.4g}"
    return "–" if math.isnan(value) else "∞" if value > 0 else "-∞"


def show_formula_and_code(page: Page, drawn: Sequence[Drawn]) -> None:
    """Show each initializer's formula with the numbers put in, its source, and how the frameworks write it."""
    with st.expander("Formula, source and code", icon=":material/function:", expanded=True):
        for one in drawn:
            record = scheme(one.initializer).record
            st.markdown(f"{coloured(one.initializer)}: {frame.literal(record.purpose)}")
            st.latex(one.formula.latex)
            st.caption(f"Source: {frame.literal(record.source)}.{_other_names(record.name)}")
            for tab, framework in zip(st.tabs(list(export.LABELS.values())), export.LABELS, strict=True):
                with tab:
                    st.code(export.line(one.initializer, framework, one.shape, page.spec.bias), language="python")
                    nearest = record.code.notes.get(framework)
                    if nearest:
                        st.caption(f"Nearest by name: {frame.literal(nearest)}")


def _other_names(name: str) -> str:
    others = [alias for alias in INITIALIZERS.aliases if INITIALIZERS.read(alias).record.name == name]
    return f" Also understood: {frame.literal(', '.join(others))}." if others else ""


def show_translator(page: Page) -> None:
    """Answer which law a framework really draws, whatever its name says."""
    shape = page.knobs.shape(page.spec)
    with st.expander("Which law does my framework really draw?", icon=":material/translate:"):
        page.knob("translate", format_func=lambda slug: f"{TRANSLATIONS[slug].label}: {TRANSLATIONS[slug].written}")
        chosen = TRANSLATIONS[page.knobs.translate]
        explained = explain(chosen, shape)
        said = frame.literal(explained.sentence.replace("sigma_w^2", "σ_w²"))
        st.markdown(f"{said} Its name here: {coloured(chosen.initializer)}.")
        st.markdown(f":material/warning: {frame.literal(chosen.trap)}")
        st.latex(scheme(chosen.initializer).formula(shape).latex)
        for tab, framework in zip(st.tabs(list(export.LABELS.values())), export.LABELS, strict=True):
            with tab:
                st.code(explained.lines[framework], language="python")


def show_gains() -> None:
    """Offer the gain of every activation, beside what PyTorch says or refuses."""
    frame.fold("Gains: what each activation needs", ":material/equalizer:", "all-gains", _gains)


def _gains() -> None:
    rows = []
    for name in ACTIVATIONS:
        phi = activation(name)
        torch_gain = theory.torch_gain(phi)
        rows.append(
            {
                "activation": phi.label,
                "keeps the signal": theory.gain(phi, "forward"),
                "keeps the gradients": theory.gain(phi, "backward"),
                "torch calculate_gain": "refuses" if torch_gain is None else f"{torch_gain:.5g}",
            }
        )
    numbers = {
        name: st.column_config.NumberColumn(format="%.5f") for name in ("keeps the signal", "keeps the gradients")
    }
    config = {"torch calculate_gain": st.column_config.TextColumn(alignment="right"), **numbers}
    st.dataframe(rows, hide_index=True, column_config=config, key="gains", alt="Gain of every activation")
    st.caption(
        "σ_w that keeps the second moment of pre-activations, or of gradients, where they are standard normal:"
        " 1 / sqrt(E φ(z)²) and 1 / sqrt(E φ'(z)²) (He et al. 2015, eq. 10 and 14)."
    )


def show_downloads(page: Page, drawn: Sequence[Drawn]) -> None:
    """Offer the samples, the spec and the format of the figures' own buttons."""
    network = page.knobs.network(page.spec)

    def columns() -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
        return {
            one.initializer: distributions.samples_of(one.initializer, one.shape, one.samples, page.spec.seed, network)
            for one in drawn
        }

    def npy() -> bytes:
        found = columns()
        table = np.empty(drawn[0].samples, dtype=[(name, np.float32) for name in found])
        for name, values in found.items():
            table[name] = values
        buffer = io.BytesIO()
        np.save(buffer, table)
        return buffer.getvalue()

    def table() -> str:
        found = columns()
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(found)
        writer.writerows(zip(*(values.tolist() for values in found.values()), strict=True))
        return buffer.getvalue()

    with st.expander("Samples and downloads", icon=":material/download:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            page.knob("samples", width=150)
            page.knob("image")
        with st.container(horizontal=True):
            if drawn:
                frame.download("Samples as CSV", table, "winit-samples.csv", "text/csv", key="samples-csv")
                frame.download(
                    "Samples as NPY", npy, "winit-samples.npy", "application/octet-stream", key="samples-npy"
                )
            spec = json.dumps(permalink.write(page.spec, page.knobs, full=True), indent=2)
            frame.download("Spec as JSON", lambda: spec, "winit-spec.json", "application/json", key="spec-json")
        st.caption("Each figure has its own download button at its upper right corner.")
