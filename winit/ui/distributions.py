"""The parts of Distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from winit import export
from winit.distributions import Drawn
from winit.figures import distributions as figures
from winit.figures.palette import TOKENS, coloured
from winit.initializers import scheme
from winit.lenses import DistributionsKnobs, together
from winit.ui import answers, cached, frame


def draw(page: frame.Page[DistributionsKnobs]) -> list[Drawn]:
    """Draw the network's initializer and those beside it."""
    shape = page.knobs.shape(page.spec)
    names = together(page.spec.initializer, page.knobs.initializers)
    samples = page.knobs.samples_each(len(names))
    return [cached.drawn(name, shape, samples, page.spec.seed) for name in names]


def show_answer(page: frame.Page[DistributionsKnobs], drawn: Sequence[Drawn]) -> None:
    """Say what the numbers say."""
    page.answer(answers.distributions(drawn))


def show_knobs(page: frame.Page[DistributionsKnobs]) -> None:
    """Draw the lens's knobs; empty fans follow the chosen layer."""
    shape = page.knobs.shape(page.spec)
    page.knob_row(
        "initializers",
        "layer",
        "fan_in",
        "fan_out",
        "samples",
        "unit",
        initializers={"width": 264},
        layer={"width": 90},
        fan_in={"width": 82, "placeholder": str(shape.fan_in)},
        fan_out={"width": 82, "placeholder": str(shape.fan_out)},
        samples={"width": 116},
        unit={"format_func": lambda unit: {"weight": "weight", "deviations": "in sd"}[unit]},
    )


def show_figures(page: frame.Page[DistributionsKnobs], drawn: Sequence[Drawn]) -> None:
    """Show the histograms and the singular values."""
    shape = drawn[0].shape
    wide, narrow = st.columns((3, 2))
    with wide:
        page.figure(
            figures.histograms(drawn, TOKENS, standardized=page.knobs.unit == "deviations", meta=page.meta),
            "Histograms of drawn weights under the exact density of " + ", ".join(one.initializer for one in drawn),
            "histograms",
        )
    with narrow:
        values = {one.initializer: cached.singular_values(one.initializer, shape, page.spec.seed) for one in drawn}
        page.figure(
            figures.singular_values(values, TOKENS, meta=page.meta),
            "Singular values of one weight matrix of each initializer, largest first",
            "singular-values",
        )
    layers = "one layer" if drawn[0].layers == 1 else f"{drawn[0].layers:,} layers"
    place = "the output layer" if shape.layer > shape.depth else f"layer {shape.layer} of {shape.depth}"
    st.caption(
        f"fan_in {shape.fan_in}, fan_out {shape.fan_out} ({place}): {drawn[0].samples:,} weights from {layers} of each,"
        f" seed {page.spec.seed}. Filled: drawn. Line: exact density. Singular values: of the first layer drawn."
    )


def show_table(drawn: Sequence[Drawn]) -> None:
    """Show the moments, asked beside drawn."""
    rows = [
        {
            "initializer": one.initializer,
            "mean asked": one.asked.mean,
            "mean drawn": one.drawn.mean,
            "sd asked": one.asked.standard_deviation,
            "sd drawn": one.drawn.standard_deviation,
            "min asked": _bound(one.asked.minimum),
            "min drawn": one.drawn.minimum,
            "max asked": _bound(one.asked.maximum),
            "max drawn": one.drawn.maximum,
            "distinct neurons": f"{one.distinct_rows} of {one.shape.fan_out}",
        }
        for one in drawn
    ]
    numbers = {
        name: st.column_config.NumberColumn(format="%.4g") for name in rows[0] if name.split()[-1] in ("asked", "drawn")
    }
    config = {"initializer": st.column_config.TextColumn(pinned=True), **numbers}
    for end in ("min asked", "max asked"):
        config[end] = st.column_config.TextColumn()
    st.dataframe(rows, hide_index=True, column_config=config, key="moments", alt="Moments asked and drawn")


def _bound(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "unbounded"


def show_formula_and_code(drawn: Sequence[Drawn]) -> None:
    """Show each initializer's formula with the numbers put in, and its line for each framework."""
    shape = drawn[0].shape
    with st.expander("Formula, source and code", icon=":material/function:", expanded=True):
        for one in drawn:
            record = scheme(one.initializer).record
            st.markdown(f"{coloured(one.initializer)}: {record.purpose}")
            st.latex(one.formula.latex)
            st.caption(f"Source: {frame.literal(record.source)}.")
            for tab, framework in zip(st.tabs(list(export.LABELS.values())), export.LABELS, strict=True):
                with tab:
                    st.code(export.line(one.initializer, framework, shape.fan_in, shape.fan_out), language="python")
