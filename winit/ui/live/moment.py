"""The figures of one step: the networks in view are trained again up to it, and drawn with exact numbers.

Trained again, not kept: what the browser has of a step is packed as fine as an eye can tell, and a
session that kept more would grow with the run. The way back is short: a member's numbers do not
depend on its company, so only those in view are trained, and nothing is looked at on the way.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from winit import budget
from winit.datasets import DATASETS, View
from winit.figures import style
from winit.figures import training as figures
from winit.figures.palette import TOKENS, Style, coloured, styles
from winit.lenses import TrainKnobs
from winit.queueing import SLICE, turn
from winit.recording import QUANTITIES, Recording, evenly, nearest
from winit.spec import Spec
from winit.statistics import LayerStatistics
from winit.training import Snapshot, status
from winit.ui import address, frame
from winit.ui.live.player import Session

_TICK = 0.3
_HISTOGRAMS = 4  # layers whose histograms are drawn, evenly spread

Answers = NDArray[np.float64]


@dataclass(frozen=True)
class Found:
    """What there is to see at the step."""

    snapshot: Snapshot
    layers: LayerStatistics
    """Of the first seed of each initializer."""
    answers: Answers
    """(initializers, outputs, samples), for the inputs of the view."""


@dataclass
class Moment:
    """A training on its way to the step that is studied, and what was found there."""

    key: tuple[Spec, TrainKnobs, int]
    recording: Recording
    cost: float
    """Expected seconds of the whole way."""
    found: Found | None = None

    def approach(self) -> None:
        """Train a slice; once there, look."""
        recording = self.recording
        with turn(self.cost):
            if recording.reach(SLICE):
                view = _VIEWS[DATASETS[recording.spec.dataset].view or "regions"]
                answers = recording.outputs(view.inputs(recording)).double().numpy()
                self.found = Found(next(recording.training), recording.layers(), answers)


def show_moment(page: frame.Page[TrainKnobs], session: Session) -> None:
    """Show the figures of the step that the address names, as soon as the networks in view are trained up to it."""
    if page.knobs.step is None:
        return
    index = nearest(session.recording.steps, page.knobs.step)
    key = (*session.key, index)
    held: Moment | None = st.session_state.get("_moment")
    if held is None or held.key != key:
        seen = page.knobs if page.knobs.shown == "mean" else page.knobs.replace(seeds=1)
        members = seen.seeds * len(session.recording.initializers)
        way = page.spec.replace(steps=max(1, session.recording.steps[index]))
        cost = budget.training_price(way, members, recorded=1).seconds
        with turn(cost):
            held = st.session_state["_moment"] = Moment(key, Recording(page.spec, seen, first=index), cost)
    if held.found is None:
        held.approach()
    with st.container(key="moment"):
        with st.container(horizontal=True, vertical_alignment="center"):
            recorded = session.recording.steps[index]
            other = "" if recorded == page.knobs.step else f", the recorded one nearest to {page.knobs.step}"
            st.subheader(f"Step {recorded}{other}", anchor=False)
            frame.button(
                "Close",
                key="close-moment",
                icon=":material/close:",
                on_click=address.change,
                kwargs={"lens": page.lens, "step": None},
            )
        if held.found is None:
            st.fragment(_train, run_every=_TICK)(held)
        else:
            _show(page, held.recording, held.found)


def _train(held: Moment) -> None:
    """Train on, and say how far it is."""
    held.approach()
    if held.found is not None:
        address.rerun()
    step, target = held.recording.training.step, held.key[1:]
    st.progress(held.recording.progress, f"Training up to step {held.recording.steps[target[-1]]}: at step {step}")


def _show(page: frame.Page[TrainKnobs], recording: Recording, found: Found) -> None:
    looks = list(styles(recording.initializers, TOKENS).values())
    _show_numbers(recording, found)
    charts = (
        (figures.layers(found.layers, looks, TOKENS, meta=page.meta), "Activations and gradients by hidden layer"),
        (figures.updates(found.layers, looks, TOKENS, meta=page.meta), "Size of the last update by hidden layer"),
        (figures.shares(found.layers, looks, TOKENS, meta=page.meta), "Dead and saturated units by hidden layer"),
    )
    for number, (column, (chart, alt)) in enumerate(zip(st.columns(3), charts, strict=True)):
        with column:
            _figure(chart, alt, f"moment-layers-{number}")
    view = _VIEWS[DATASETS[recording.spec.dataset].view or "regions"]
    for number, (column, look) in enumerate(zip(st.columns(len(looks)), looks, strict=True)):
        with column:
            st.markdown(coloured(look.name, style.short_name(look.name)))
            _figure(view.draw(recording, found.answers[number], look, page.meta), view.alt, f"moment-data-{number}")
    chosen = evenly(recording.spec.depth, _HISTOGRAMS)
    for quantity in QUANTITIES[1:]:
        spread = getattr(found.layers, quantity)
        with st.grid(len(chosen), min_column_width=150):
            for layer in chosen:
                title = f"{quantity.capitalize()}, layer {layer + 1}"
                chart = figures.histogram(spread, layer + 1, looks, title, TOKENS, meta=page.meta)
                _figure(chart, f"Histogram of the {quantity} of hidden layer {layer + 1}", f"moment-{quantity}-{layer}")
    frame.download(
        "Layers as CSV",
        lambda: _csv(recording, found.layers),
        f"winit-layers-step-{found.snapshot.step}.csv",
        "text/csv",
        key="moment-csv",
    )


def _figure(chart: go.Figure, alt: str, key: str) -> None:
    """Show a figure with buttons to zoom; until one is pressed it leaves a phone its scroll."""
    chart.update_xaxes(fixedrange=False).update_yaxes(fixedrange=False)
    buttons = {"modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]], "doubleClick": "reset"}
    st.plotly_chart(chart, key=key, config={**style.config(key), **buttons}, alt=alt)


def _show_numbers(recording: Recording, found: Found) -> None:
    """Show the exact loss and scores of the networks in view."""
    snapshot, measure = found.snapshot, recording.data.measure
    rows = [
        {
            "initializer": member.initializer,
            "seed": member.seed,
            "status": status(loss, recording.data.constant_loss, diverged_at),
            "loss": loss,
            f"training {measure.label}": train,
            f"test {measure.label}": test,
        }
        for member, loss, train, test, diverged_at in zip(
            recording.training.members,
            snapshot.loss,
            snapshot.train_accuracy,
            snapshot.test_accuracy,
            snapshot.diverged_at,
            strict=True,
        )
    ]
    st.dataframe(
        rows,
        hide_index=True,
        key="moment-numbers",
        alt=f"Loss and {measure.label} at step {snapshot.step}",
        column_config={
            "initializer": st.column_config.TextColumn(pinned=True),
            "loss": st.column_config.NumberColumn(format="%.6g"),
        },
    )


def _csv(recording: Recording, layers: LayerStatistics) -> str:
    """Return what flows through the layers as comma-separated values."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    moments = [f"{quantity}_{name}" for quantity in QUANTITIES for name in ("mean", "deviation", "low", "high")]
    others = ("dead_fraction", "saturated_fraction", "effective_rank", "update_ratio_log10")
    writer.writerow(["initializer", "layer", *moments, *others])
    for row, name in enumerate(recording.initializers):
        for layer in range(recording.spec.depth):
            values = [
                getattr(getattr(layers, quantity), moment)[row, layer]
                for quantity in QUANTITIES
                for moment in ("mean", "deviation", "low", "high")
            ]
            writer.writerow([name, layer + 1, *values, *(getattr(layers, other)[row, layer] for other in others)])
    return file.getvalue()


@dataclass(frozen=True)
class _View:
    """How answers are drawn: for which inputs, by what, and what it shows to those who do not see it."""

    inputs: Callable[[Recording], Any]
    draw: Callable[[Recording, Answers, Style, str], go.Figure]
    alt: str


def _confusion(recording: Recording, answers: Answers, _look: Style, meta: str) -> go.Figure:
    chosen = figures.majority(answers.T[None])
    names = DATASETS[recording.spec.dataset].class_names
    return figures.confusion(recording.data, chosen, TOKENS, names=names, meta=meta)


_VIEWS: Mapping[View, _View] = {
    "regions": _View(
        lambda recording: figures.surface_grid(recording.data)[2],
        lambda recording, answers, _, meta: figures.surface(recording.data, answers.T, TOKENS, meta=meta),
        "Decision surface with the test points",
    ),
    "board": _View(
        lambda recording: recording.data.test_x,
        lambda recording, answers, _, meta: figures.board(recording.data, answers.T, TOKENS, meta=meta),
        "Test digits and what the network reads",
    ),
    "confusion": _View(lambda recording: recording.data.test_x, _confusion, "True against predicted classes"),
    "curves": _View(
        lambda recording: figures.curve_points(recording.data),
        lambda recording, answers, look, meta: figures.fitted_curves(recording.data, answers, look, TOKENS, meta=meta),
        "Fitted curve with the data points",
    ),
    "heat_map": _View(
        lambda recording: figures.surface_grid(recording.data)[2],
        lambda recording, answers, _, meta: figures.heat_map(recording.data, answers, TOKENS, meta=meta),
        "Prediction over the plane with the test points",
    ),
    "scatter": _View(
        lambda recording: recording.data.test_x,
        lambda recording, answers, look, meta: figures.predicted_against_true(
            recording.data, answers, look, TOKENS, meta=meta
        ),
        "Predicted against true target of the test samples",
    ),
}
"""How each view is drawn."""
